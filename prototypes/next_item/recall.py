from ranker import *
from features import NAMES
d = load_ml(); rows = np.load("rows.npy"); M = np.load("F.npy", mmap_mode="r"); S = np.load("S0.npy", mmap_mode="r")
ix = {n: k for k, n in enumerate(NAMES)}
rng = np.random.default_rng(0); va = np.flatnonzero((rows >= d.n_train) & (rows < d.n_past)); va = np.sort(rng.choice(va, 2500, replace=False)); Q = Queries(d, rows[va])
g = lambda n: (S[va] if n == "seq" else M[ix[n], va]).astype(np.float32)
inf = {}
for names, k in ((["seq", "ease_sqrt", "next", "userknn", "ials", "rules"], 60), (["seq", "ease_sqrt", "next", "userknn", "rules"], 60), (["seq", "ease_sqrt", "userknn"], 60), (["seq", "ease_sqrt", "next", "userknn", "ials", "rules", "pop20k"], 60), (["seq", "seq", "ease_sqrt", "next", "userknn", "ials", "rules", "pop20k", "text"], 60), (["seq", "seq", "ease_sqrt", "userknn", "ials", "rules"], 200)):
    show(f"rrf {k} {names}", ranks(rrf([g(n) for n in names], Q.ok, k), Q.ok, Q.target))
z = lambda W: sum(w * g(n) for n, w in W.items())
for W in ({"seq": 2, "ease_sqrt": 1, "next": 1, "userknn": .7, "ials": .5, "rules": .5}, {"seq": 2, "ease_sqrt": .3, "next": .3, "userknn": .5, "ials": .3, "rules": .5}, {"seq": 3, "ease_sqrt": .3, "userknn": .7, "rules": .7, "pop20k": .5}, {"seq": 3, "ease_sqrt": .3, "userknn": .7, "rules": .7, "pop20k": .5, "text": .3}):
    show(f"z {W}", ranks(z(W), Q.ok, Q.target))
