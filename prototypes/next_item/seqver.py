"""Prequential versions of the sequence encoder: each continues the last on all events so far, and scores the next block."""
from seq import *
import sys
torch.set_num_threads(1)
if __name__ == "__main__":
    kw = eval(f"dict({sys.argv[2]})") if len(sys.argv) > 2 else {}
    seed = kw.pop("seed", 0); first = kw.pop("first", 12); more = kw.pop("more", 4); cuts = kw.pop("cuts", (40000, 54000, 68000, 81000, 90000)); lr2 = kw.pop("lr2", 2e-3)
    d = load_ml(); rows = np.load("rows.npy"); cfg = SeqConfig(**kw); torch.manual_seed(seed)
    m = Seq(cfg, d.n_items, side_of(d)); out = np.zeros((len(rows), d.n_items), np.float16)
    Q = Queries(d, rows); ft = d.first_tied[rows]
    for k, up in enumerate(cuts):
        t0 = time.process_time()
        fit(m, d, up, first if k == 0 else more, seed + k, lr=None if k == 0 else lr2)
        hi = cuts[k + 1] if k + 1 < len(cuts) else 10 ** 9
        b = np.flatnonzero((ft >= up) & (ft < hi)); s = score(m, d, rows[b])
        out[b] = np.clip(zscore(s, Q.ok[b]), -12, 12)
        if up < d.n_past: show(f"{up} {time.process_time()-t0:.0f}s", ranks(s, Q.ok[b], Q.target[b]))
        torch.save(m.state_dict(), f"{sys.argv[1]}_{up}.pt")
    np.save(sys.argv[1] + ".npy", out)
