"""Cold items: features of an item without events are imputed from items like it (ridge on text and profile)."""
from common import *
from baselines import *
from features import Version, build, NAMES
from ranker import fit_ranker, user_context
import torch, sys
FEATS = ["ease_sqrt", "knn", "next", "ials", "userknn", "pop", "pop20k", "rate", "text", "genre", "year"]


def item_inputs(d, text_weight=1., extra=1.):
    t = d.text - d.text.mean(0); t = t / np.linalg.norm(t, axis=1, keepdims=True).clip(1e-9)
    g = d.genres - d.genres.mean(0)
    y = (d.year - d.year.mean()) / d.year.std()
    yb = np.exp(-.5 * ((d.year[:, None] - np.array([1940, 1960, 1975, 1985, 1990, 1993, 1995, 1996, 1997, 1998])) / np.array([15, 10, 8, 4, 2, 1.5, .7, .7, .7, .7])) ** 2)
    yb -= yb.mean(0)
    return np.concatenate([text_weight * t, extra * .35 * g, extra * .5 * yb], 1)


def hat(x, warm, cold, weight, lam):
    """(cold, warm) matrix that maps values of warm items to ridge predictions for cold ones, with an intercept; weighted by precision."""
    s = np.sqrt(weight[warm])[:, None]
    A = np.concatenate([x, np.ones((len(x), 1))], 1)
    W = A[warm] * s
    R = lam * np.eye(W.shape[1]); R[-1, -1] = 1e-6
    return (A[cold] @ np.linalg.solve(W.T @ W + R, W.T) * s.T).astype(np.float32)


if __name__ == "__main__":
    d = load_ml(); out = {}
    n_ev = np.bincount(d.item, minlength=d.n_items)
    for seed in (0, 1, 2):
        rng = np.random.default_rng(seed); elig = np.flatnonzero(n_ev >= 10)
        cold = np.sort(rng.choice(elig, int(.15 * len(elig)), replace=False)); is_cold = np.zeros(d.n_items, bool); is_cold[cold] = True
        keep = ~is_cold[d.item]
        w = Data(d.user[keep], d.item[keep], d.t[keep], d.pos[keep], d.value[keep], d.known, d.text, d.genres, d.year, d.uprof, int(keep[:d.n_train].sum()), int(keep[:d.n_past].sum()))
        # cold positives are appended as queries: histories from warm events only
        derive(w)
        lo = int(.6 * w.n_train)
        vs = [Version(w, lo), Version(w, (lo + w.n_train) // 2), Version(w, w.n_train)]
        tr = queries(w, "train"); tr = tr[w.first_tied[tr] >= lo]
        def cold_queries(a, b):
            r = np.flatnonzero(d.pos[a:b] & is_cold[d.item[a:b]]) + a
            # the same users and instants over the warm events
            q = Queries.__new__(Queries); q.d, q.rows = w, r
            q.user, q.target, q.t = d.user[r], d.item[r], d.t[r]
            nb = np.array([np.searchsorted(w.t[w.rows_by_user[w.ptr[u]:w.ptr[u + 1]]], t, "left") for u, t in zip(q.user, q.t)])
            q.indptr = np.concatenate([[0], np.cumsum(nb)]); base = np.repeat(w.ptr[q.user] - q.indptr[:-1], nb)
            q.ev = w.rows_by_user[base + np.arange(q.indptr[-1])]; q.q = np.repeat(np.arange(len(r)), nb); q.age = np.repeat(q.indptr[1:], nb) - 1 - np.arange(len(q.ev))
            q.ok = allowed(d, r)                                  # touched cold items leave the list too
            q.nb = nb; liked = np.bincount(q.q, w.pos[q.ev], len(r)); q.enough = liked >= 3
            q.ft = np.searchsorted(w.t, q.t, "left")
            return q
        def features(q, rows_like=None):
            """build() of warm columns; it needs nb and first_tied by row: a shallow view."""
            import copy
            v = copy.copy(w); v.first_tied = q.ft; q2 = copy.copy(q); q2.rows = np.arange(len(q.rows)); q2.d = v; v2 = v
            okw = q.ok.copy(); okw[:, cold] = False; q2.ok = okw
            F = build(v2, q2, vs, FEATS); return F
        x = item_inputs(w)
        weight = np.log1p(np.bincount(w.item[:w.n_train], minlength=w.n_items)).astype(float); weight[cold] = 0
        imput = [FEATS.index(f) for f in FEATS[:8]]
        warm_items = np.flatnonzero(weight > 0)
        def to_items(F, items_from, items_to, lam):
            P = hat(x, items_from, items_to, weight, lam)
            return [F[k][:, items_from].astype(np.float32) @ P.T if k in imput else F[k][:, items_to].astype(np.float32) for k in range(len(FEATS))]
        def norm(f, ok): return np.clip(zscore(f, ok), -8, 8)
        ev = {}
        for part, (a, b) in {"validation": (d.n_train, d.n_past), "test": (d.n_past, len(d.user))}.items():
            q = cold_queries(a, b); m = q.enough; F = features(q)
            okc = q.ok[:, cold]; tgt = np.searchsorted(cold, q.target)
            ev[part] = (q, F, okc, tgt, m)
            truepop = np.bincount(d.item[:d.n_train][d.pos[:d.n_train]], minlength=d.n_items)[cold].astype(float)
            rep = lambda f: metrics(ranks(f[m], okc[m], tgt[m]), ())["ndcg10"]
            line = {"n": int(m.sum()), "list": float(okc[m].sum(1).mean()), "chance": rep(np.random.default_rng(0).random(okc.shape)), "true pop": rep(np.repeat(truepop[None], len(m), 0)), "text cos": rep(F[FEATS.index("text")][:, cold].astype(float))}
            for lam in (3., 10., 30.):
                G = to_items(F, warm_items, cold, lam)
                line[f"lam {lam}"] = {FEATS[k]: round(float(rep(G[k])), 4) for k in imput}
            print(seed, part, line, flush=True)
        # slates over out-of-fold imputed warm items
        q = Queries(w, tr); q.ft = w.first_tied[tr]; F = features(q)
        folds = rng.integers(0, 6, w.n_items); lam = 10.
        xs, ws, cs = [], [], []
        ctx = user_context(w, q)
        for k in range(6):
            inf = np.flatnonzero((folds == k) & (weight > 0)); fr = np.flatnonzero((folds != k) & (weight > 0))
            m = np.flatnonzero((folds[q.target] == k) & (weight[q.target] > 0)); pos = np.full(w.n_items, -1); pos[inf] = np.arange(len(inf))
            G = to_items([f[m] for f in F], fr, inf, lam); okk = q.ok[m][:, inf]
            G = np.stack([norm(g, okk) for g in G], -1).astype(np.float16)
            neg = rng.integers(0, len(inf), (len(m), 60)); s = np.concatenate([pos[q.target[m]][:, None], neg], 1)
            lw = np.zeros(s.shape, np.float32); lw[~np.take_along_axis(okk, s, 1)] = -1e9; lw[:, 1:][neg == s[:, :1]] = -1e9
            xs.append(np.take_along_axis(G, s[:, :, None], 1)); ws.append(lw); cs.append(ctx[m])
        X, L, C = np.concatenate(xs), np.concatenate(ws), np.concatenate(cs)
        enough = np.flatnonzero(np.isfinite(C[:, 0]))
        for name, cols in {"all": range(len(FEATS)), "without text": [k for k, f in enumerate(FEATS) if f != "text"]}.items():
            cols = list(cols); net = fit_ranker(X[..., cols], L, C, epochs=4, seed=seed, width=32)
            for part in ev:
                q, F, okc, tgt, m = ev[part]
                G = to_items(F, warm_items, cold, lam); G = np.stack([norm(g, okc) for g in G], -1)[..., cols].astype(np.float32)
                n = np.bincount(q.q, minlength=len(q.rows)); p = np.bincount(q.q, w.pos[q.ev], len(q.rows)); last = np.zeros(len(n), np.int64); np.maximum.at(last, q.q, w.t[q.ev])
                gap = np.log1p(np.where(n > 0, (q.t - last) / 1e6, 0)); prev = np.bincount(q.q, w.t[q.ev] == last[q.q], len(n))
                c = np.stack([np.log1p(n) / 3 - 1, (p + 3) / (n + 6) - .5, gap / 5 - 1, gap > np.log(3600), np.log1p(prev), n == 0], 1).astype(np.float32)
                with torch.inference_mode(): y = net(torch.from_numpy(G), torch.from_numpy(c)).numpy()
                print(seed, part, "ranker", name, round(metrics(ranks(y[m], okc[m], tgt[m]), ())["ndcg10"], 4), flush=True)
