"""run2.py PART SEED...: the recipe with the sequence encoder's score; PART validation (fitted on train) or test (fitted on train + validation)."""
from ranker import *
from features import NAMES
import sys, json
part, seqs, seeds = sys.argv[1], sys.argv[2].split(","), [int(s) for s in sys.argv[3:]]
d = load_ml(); rows = np.load("rows.npy"); M = np.load("F.npy", mmap_mode="r"); Q = Queries(d, rows)
names = NAMES + seqs; ix = {n: k for k, n in enumerate(names)}
tr = np.flatnonzero(rows < (d.n_train if part == "validation" else d.n_past))
ev = np.flatnonzero((rows >= d.n_train) & (rows < d.n_past)) if part == "validation" else np.flatnonzero(rows >= d.n_past)
use = np.arange(tr[0], ev[-1] + 1)
F = [np.asarray(M[k]) for k in range(len(M))] + [np.load(s) for s in seqs]
ctx = user_context(d, Q)
W = {ix["ease_sqrt"]: 1., ix["next"]: 1., ix["userknn"]: .7, ix["ials"]: .5, ix["rules"]: .5} | {ix[s]: 2. for s in seqs}
order = np.zeros((len(rows), d.n_items), np.int16)
for p in (tr, ev): order[p] = first_order([f[p] for f in F], Q.ok[p], W)
show("seq alone", ranks(F[-1][ev].astype(np.float32), Q.ok[ev], Q.target[ev]))
show("z fusion (fixed)", (order[ev] == Q.target[ev][:, None]).argmax(1) + 1.)
for seed in seeds:
    s, w = slates(order[tr], Q.target[tr], Q.ok[tr], seed); x = gather(F, tr, s)
    t0 = time.process_time(); net = fit_ranker(x, w, ctx[tr], lr=5e-3, epochs=4, seed=seed); dt = time.process_time() - t0
    r, top = rank_with(net, F, Q, ev, order[ev], ctx)
    m = show(f"{part} ranker seed {seed} {dt:.0f}s distinct {len(np.unique(top))}", r)
    np.save(f"ranks_{part}_{seed}.npy", r)
    torch.save(net.state_dict(), f"net_{part}_{seed}.pt")
    # one list per user: 60 users at their last query
    u, last = np.unique(Q.user[ev][::-1], return_index=True); pick = np.random.default_rng(0).permutation(len(u))[:60]
    print("  60 users x 10 distinct", len(np.unique(top[len(ev) - 1 - last[pick]])), flush=True)
