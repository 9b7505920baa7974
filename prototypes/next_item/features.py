"""Dense collaborative features of (query, item), each from the newest version fitted strictly before."""
from baselines import *
from slist import rows_matrix

NAMES = ["ease_sqrt", "ease_flat", "ease_fast", "knn", "next", "rules", "ials", "userknn", "pop", "pop2k", "pop20k", "rate",
         "text", "genre", "year", "dislike", "lastgroup"]

def w_sqrt(a, p): return (p + .2 * (1 - p)) / np.sqrt(1 + a)
def w_next(a, p): return (p + .3 * (1 - p)) / np.sqrt(1 + a)

def l2rows(H, plus=1.):
    return sp.diags(1 / (np.sqrt(np.asarray(H.multiply(H).sum(1)).ravel()) + plus)) @ H


class Version:
    """Everything fitted on the rows before `upto`."""
    def __init__(self, d, upto, before=None):
        self.upto = upto
        X, Xa = interaction_matrix(d, upto), interaction_matrix(d, upto, False)
        self.X = X
        self.B = ease(X, 300); self.K = knn_tfidf(X, 100)
        # next-item regression: sums grow with the events
        lo = 0 if before is None else before.upto
        rows = np.flatnonzero(d.pos[lo:upto]) + lo
        H = l2rows(rows_matrix(d, rows, w_next))
        Y = sp.csr_matrix((np.ones(len(rows), np.float32), (np.arange(len(rows)), d.item[rows])), shape=(len(rows), d.n_items))
        self.G = np.asarray((H.T @ H).todense(), np.float64); self.C = np.asarray((H.T @ Y).todense(), np.float64)
        if before is not None: self.G += before.G; self.C += before.C
        self.M = np.linalg.solve(self.G + 100 * np.eye(d.n_items), self.C).astype(np.float32)
        R = rules(d, upto)
        self.R = R / (R.sum(1, keepdims=True) + 3)
        self.V, self.fold = ials(X, 32, 1., 10., iters=6)
        self.n_item = np.bincount(d.item[:upto], minlength=d.n_items)
        npos = np.bincount(d.item[:upto][d.pos[:upto]], minlength=d.n_items)
        self.rate = ((npos + 5 * d.pos[:upto].mean()) / (self.n_item + 5)).astype(np.float32)
        XN = sp.diags(1 / (np.sqrt(np.asarray(X.sum(1)).ravel()) + 1e-9)) @ X
        self.XN = XN.tocsr()


def user_knn(v, H, users, k=60):
    Hn = l2rows(H, 1e-9)
    S = np.asarray((Hn @ v.XN.T).todense())
    S[np.arange(len(users)), users] = 0
    cut = np.partition(S, -k, axis=1)[:, -k][:, None]
    S[S < cut] = 0
    return (sp.csr_matrix(S) @ v.X).toarray()


def windows(d, rows, sizes=(2000, 20000)):
    """log1p of positives of each item in the last n events strictly before."""
    out = [np.zeros((len(rows), d.n_items), np.float32) for _ in range(len(sizes) + 1)]
    c = np.zeros((len(sizes) + 1, d.n_items)); at = 0; los = [0] * len(sizes)
    it, po = d.item, d.pos
    for k, r in enumerate(rows):
        f = d.first_tied[r]
        if f > at:
            j = it[at:f][po[at:f]]
            for x in range(len(c)): np.add.at(c[x], j, 1)
            at = f
        for x, s in enumerate(sizes):
            lo = max(0, f - s)
            if lo > los[x]:
                np.add.at(c[x + 1], it[los[x]:lo][po[los[x]:lo]], -1); los[x] = lo
        for x in range(len(c)): out[x][k] = c[x]
    return [np.log1p(o) for o in out]


def build(d, Q, versions, names=NAMES):
    """(F, Q, I) float16, z-scored per query over the allowed."""
    n = len(Q.rows); F = np.zeros((len(names), n, d.n_items), np.float16)
    ft = d.first_tied[Q.rows]
    ups = np.array([v.upto for v in versions])
    which = np.searchsorted(ups, ft, side="right") - 1
    assert which.min() >= 0
    text = d.text - d.text.mean(0); text /= np.linalg.norm(text, axis=1, keepdims=True) + 1e-9
    gn = d.genres / (np.linalg.norm(d.genres, axis=1, keepdims=True) + 1e-9)
    pops = windows(d, Q.rows)
    p = d.pos[Q.ev].astype(np.float32); a = Q.age
    tl = d.t[Q.ev]; last_t = np.zeros(n, np.int64); np.maximum.at(last_t, Q.q, tl)
    H = {"sqrt": Q.matrix(w_sqrt(a, p)), "flat": Q.matrix(p), "fast": Q.matrix((p + .2 * (1 - p)) * .5 ** (a / 3)), "next": Q.matrix(np.where(a < 60, w_next(a, p), 0)),
         "rules": Q.matrix((p + .3 * (1 - p)) / (1 + a)), "dis": Q.matrix((1 - p) / np.sqrt(1 + a)), "last": Q.matrix((tl == last_t[Q.q]) * (p + .3 * (1 - p)))}
    H["next"] = l2rows(H["next"])
    eps = 1e-6 * np.expm1(pops[0])
    hs = np.asarray(H["sqrt"].sum(1)) + 1e-9
    mean_year = (H["sqrt"] @ d.year[:, None]) / hs
    usual = d.genres.mean(0)
    for k in range(len(versions)):
        m = np.flatnonzero(which == k)
        if not len(m): continue
        v = versions[k]; h = {x: y[m] for x, y in H.items()}; ok = Q.ok[m]
        s = {"ease_sqrt": h["sqrt"] @ v.B, "ease_flat": h["flat"] @ v.B, "ease_fast": h["fast"] @ v.B, "knn": h["sqrt"] @ v.K, "next": h["next"] @ v.M,
             "rules": h["rules"] @ v.R, "ials": v.fold(h["sqrt"]) @ v.V.T, "userknn": user_knn(v, h["sqrt"], Q.user[m]),
             "pop": pops[0][m], "pop2k": pops[1][m], "pop20k": pops[2][m], "rate": np.repeat(v.rate[None], len(m), 0),
             "text": (h["sqrt"] @ text / hs[m]) @ text.T, "genre": (h["sqrt"] @ (gn - gn.mean(0)) / hs[m]) @ gn.T,
             "year": -np.abs(d.year[None] - mean_year[m]), "dislike": h["dis"] @ v.B, "lastgroup": h["last"] @ v.K}
        for x, name in enumerate(names):
            F[x, m] = np.clip(zscore(np.asarray(s[name]) + (eps[m] if name not in ("text", "genre", "year") else 0), ok), -12, 12)
    return F

if __name__ == "__main__":
    d = load_ml(); t0 = time.time()
    start = 40000
    rows = np.concatenate([queries(d, "train"), queries(d, "validation"), queries(d, "test", 2000)])
    rows = rows[d.first_tied[rows] >= start]
    vs = []; before = None
    for up in list(range(start, 100000, 5000)):
        before = Version(d, up, before); vs.append(before)
        print(up, time.process_time(), flush=True)
    Q = Queries(d, rows)
    F = build(d, Q, vs)
    np.save("F.npy", F); np.save("rows.npy", rows)
    va = np.flatnonzero((rows >= d.n_train) & (rows < d.n_past))
    for k, n in enumerate(NAMES): show(n, ranks(F[k, va].astype(np.float32), Q.ok[va], Q.target[va]))
    print(time.time() - t0, time.process_time())
