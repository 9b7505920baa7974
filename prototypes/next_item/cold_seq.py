"""The text tower of the sequence encoder on items held out of training (ids dropped for half of the items of a step)."""
from seq import *
import sys
torch.set_num_threads(1)
class ColdSeq(Seq):
    """`hidden` (I,) bool: items out of the catalogue of the softmax; ids and biases dropped alike, so that the side features must explain both."""
    hidden = None
    def items_out(self):
        e = self.out.weight; b = self.bias
        if self.training: keep = (torch.rand(len(e), 1) >= self.cfg.id_drop).float()
        else: keep = (~self.hidden).float()[:, None]
        self._b = b * keep[:, 0]
        return e * keep + self.side_out(self.side)
    def logits(self, h, out=None):
        out = self.items_out()
        y = h @ out.T * (4 / math.sqrt(self.cfg.d)) + self._b
        return y.masked_fill(self.hidden, -1e9) if self.training else y
if __name__ == "__main__":
    d = load_ml(); n_ev = np.bincount(d.item, minlength=d.n_items); seed = int(sys.argv[1]); kw = eval(f"dict({sys.argv[2]})"); ep = kw.pop("epochs", 10)
    rng = np.random.default_rng(seed); elig = np.flatnonzero(n_ev >= 10); cold = np.sort(rng.choice(elig, int(.15 * len(elig)), replace=False)); is_cold = np.zeros(d.n_items, bool); is_cold[cold] = True
    keep = ~is_cold[d.item]
    w = derive(Data(d.user[keep], d.item[keep], d.t[keep], d.pos[keep], d.value[keep], d.known, d.text, d.genres, d.year, d.uprof, int(keep[:d.n_train].sum()), int(keep[:d.n_past].sum())))
    x = side_of(d)
    yb = np.exp(-.5 * ((d.year[:, None] - np.array([1940, 1960, 1975, 1985, 1990, 1993, 1995, 1996, 1997, 1998])) / np.array([15, 10, 8, 4, 2, 1.5, .7, .7, .7, .7])) ** 2)
    x = torch.cat([x, torch.from_numpy(yb.astype(np.float32))], 1)
    torch.manual_seed(seed); m = ColdSeq(SeqConfig(**kw), d.n_items, x); m.hidden = torch.from_numpy(is_cold)
    # queries of cold positives over the warm events: appended as rows that nobody's history reaches
    def ev(a, b):
        r = np.flatnonzero(d.pos[a:b] & is_cold[d.item[a:b]]) + a
        import copy; v = copy.copy(w); v.user = np.concatenate([w.user, d.user[r]]); v.t = np.concatenate([w.t, d.t[r]]); v.item = np.concatenate([w.item, d.item[r]])
        v.pos = np.concatenate([w.pos, d.pos[r]]); v.value = np.concatenate([w.value, d.value[r]])
        nb = np.array([np.searchsorted(w.t[w.rows_by_user[w.ptr[u]:w.ptr[u + 1]]], t, "left") for u, t in zip(d.user[r], d.t[r])])
        v.nb = np.concatenate([w.nb, nb]); rows = len(w.user) + np.arange(len(r))
        liked = np.array([w.pos[history(v, q)].sum() for q in rows])
        ok = allowed(d, r)[:, cold]; return v, rows, r, liked >= 3, ok, np.searchsorted(cold, d.item[r])
    parts = {"validation": ev(d.n_train, d.n_past), "test": ev(d.n_past, len(d.user))}
    def report(e, l, s):
        if e % 5 != 4 and e != ep - 1: return
        for name, (v, rows, r, enough, ok, tgt) in parts.items():
            if name == "test" and e != ep - 1: continue
            y = score(m, v, rows)[:, cold]; print(seed, kw, e, round(l, 3), name, f"cpu {time.process_time():.0f}", {k: round(float(z), 4) for k, z in metrics(ranks(y[enough], ok[enough], tgt[enough]), ()).items()}, flush=True)
            np.save(f"coldseq_{name}_{seed}.npy", y)
    fit(m, w, w.n_train, ep, seed, log=report)
