from ranker import *
from features import NAMES
import sys
d = load_ml(); rows = np.load("rows.npy"); M = np.load("F.npy", mmap_mode="r"); Q = Queries(d, rows)
names = NAMES + ["seq"]; ix = {n: k for k, n in enumerate(names)}
tr = np.flatnonzero(rows < d.n_train); ev = np.flatnonzero((rows >= d.n_train) & (rows < d.n_past))
F = [np.asarray(M[k]) for k in range(len(M))] + [np.load("S1.npy")]
ctx = user_context(d, Q)
W = {ix["ease_sqrt"]: .3, ix["next"]: .3, ix["userknn"]: .5, ix["ials"]: .3, ix["rules"]: .5, ix["seq"]: 2.}
W2 = {ix["ease_sqrt"]: 1., ix["next"]: 1., ix["seq"]: 2.}
B = ["ease_sqrt","next","seq","pop","pop2k","pop20k","rate","text","dislike","lastgroup"]
sets = {"all":(names,W), "B":(B,W2), "B+userknn":(B+["userknn"],W2),"B+userknn+rules":(B+["userknn","rules"],W2), "B+rules":(B+["rules"],W2),"B+uk+rules+flat+fast":(B+["userknn","rules","ease_flat","ease_fast"],W2),"B+uk+rules+flat+fast+genre+year":(B+["userknn","rules","ease_flat","ease_fast","genre","year"],W2),"noials noknn":([n for n in names if n not in ("ials","knn")],W2), "no text genre year":([n for n in names if n not in ("text","genre","year")],W), "no userknn":([n for n in names if n!="userknn"],W)}
cache = {}
for nm,(s_,w_) in sets.items():
    key = str(w_)
    if key not in cache:
        order = np.zeros((len(rows), d.n_items), np.int16)
        for p in (tr, ev): order[p] = first_order([f[p] for f in F], Q.ok[p], w_)
        r=(order[ev] == Q.target[ev][:, None]).argmax(1) + 1.; show("fusion", r)
        s, w = slates(order[tr], Q.target[tr], Q.ok[tr], 0); x = gather(F, tr, s)
        cache = {key: (order, s, w, x)}
    order, s, w, x = cache[key]
    k = [ix[n] for n in s_]
    net = fit_ranker(np.ascontiguousarray(x[:, :, k]), w, ctx[tr], lr=5e-3, epochs=4, seed=0)
    r, top = rank_with(net, [F[i] for i in k], Q, ev, order[ev], ctx)
    show(nm, r)
