"""Imputed scores + text tower, z-scored: validation chooses the weights."""
import copy, itertools
from cold import *
d = load_ml(); n_ev = np.bincount(d.item, minlength=d.n_items); seed = 0
rng = np.random.default_rng(seed); elig = np.flatnonzero(n_ev >= 10); cold = np.sort(rng.choice(elig, int(.15 * len(elig)), replace=False)); is_cold = np.zeros(d.n_items, bool); is_cold[cold] = True
keep = ~is_cold[d.item]
w = derive(Data(d.user[keep], d.item[keep], d.t[keep], d.pos[keep], d.value[keep], d.known, d.text, d.genres, d.year, d.uprof, int(keep[:d.n_train].sum()), int(keep[:d.n_past].sum())))
v = Version(w, w.n_train); x = item_inputs(w); weight = np.log1p(v.n_item).astype(float); weight[cold] = 0; warm = np.flatnonzero(weight > 0)
Ps = {lam: hat(x, warm, cold, weight, lam) for lam in (10., 30., 100.)}
use = ["ease_sqrt", "knn", "next", "ials", "userknn", "pop20k", "text"]
got = {}
for part, (a, b) in {"validation": (d.n_train, d.n_past), "test": (d.n_past, len(d.user))}.items():
    r = np.flatnonzero(d.pos[a:b] & is_cold[d.item[a:b]]) + a
    q = Queries.__new__(Queries); q.user, q.target, q.t = d.user[r], d.item[r], d.t[r]
    nb = np.array([np.searchsorted(w.t[w.rows_by_user[w.ptr[u]:w.ptr[u + 1]]], t, "left") for u, t in zip(q.user, q.t)])
    q.indptr = np.concatenate([[0], np.cumsum(nb)]); base = np.repeat(w.ptr[q.user] - q.indptr[:-1], nb)
    q.ev = w.rows_by_user[base + np.arange(q.indptr[-1])]; q.q = np.repeat(np.arange(len(r)), nb); q.age = np.repeat(q.indptr[1:], nb) - 1 - np.arange(len(q.ev))
    ok = allowed(d, r); okc = ok[:, cold]; q.ok = ok.copy(); q.ok[:, cold] = False
    m = np.bincount(q.q, w.pos[q.ev], len(r)) >= 3; vw = copy.copy(w); vw.first_tied = np.searchsorted(w.t, q.t, "left"); q.d = vw; q.rows = np.arange(len(r))
    F = build(vw, q, [v], use); y = np.load(f"coldseq_{part}_{seed}.npy"); tgt = np.searchsorted(cold, q.target)
    z = {"seq": zscore(y, okc)} | {"text": zscore(F[-1][:, cold].astype(np.float32), okc)}
    for lam, P in Ps.items(): z |= {f"{n}{lam:.0f}": zscore(F[k][:, warm].astype(np.float32) @ P.T, okc) for k, n in enumerate(use[:-1])}
    got[part] = (z, okc, tgt, m)
def value(part, W):
    z, okc, tgt, m = got[part]; s = sum(c * z[n] for n, c in W.items()); return metrics(ranks(s[m], okc[m], tgt[m]), ())["ndcg10"]
for W in ({"text": 1}, {"seq": 1}, {"ease_sqrt30": 1}, {"ease_sqrt100": 1}, {"seq": 1, "ease_sqrt30": 1}, {"seq": .5, "ease_sqrt30": 1}, {"seq": 1, "ease_sqrt30": 1, "text": .5}, {"seq": 1, "ease_sqrt30": 1, "userknn30": .5, "pop20k10": .5},
          {"seq": 1, "ease_sqrt30": 1, "pop20k10": .7}, {"ease_sqrt30": 1, "next30": 1, "userknn30": 1, "seq": 1}, {"ease_sqrt30": 1, "pop20k10": .5}):
    print(W, "validation", round(value("validation", W), 4), "test", round(value("test", W), 4), flush=True)
