"""Sequence encoder: self-attention over the recent events; softmax over the unseen catalogue."""
from common import *
import time, math
import torch, torch.nn as nn, torch.nn.functional as F

@dataclass
class SeqConfig:
    d: int = 64
    heads: int = 2
    layers: int = 2
    L: int = 50
    dropout: float = 0.3
    lr: float = 3e-3
    wd: float = 1e-2
    batch: int = 64
    gamma: float = 0.0       # weight of the positives of later groups, per group
    ahead: int = 1
    tied: bool = False
    text: bool = True
    mask_seen: bool = True
    neg_weight: float = 0.0  # weight of touched, not liked, next events
    smooth: float = 0.0
    emb_drop: float = 0.0
    id_drop: float = 0.0


class Seq(nn.Module):
    def __init__(self, cfg, n_items, side):
        super().__init__()
        self.cfg = cfg; d = cfg.d
        self.inp = nn.Embedding(n_items + 2, d)      # n_items: start; n_items + 1: padding
        self.out = nn.Embedding(n_items, d)
        nn.init.normal_(self.inp.weight, std=.05); nn.init.normal_(self.out.weight, std=.05)
        self.bias = nn.Parameter(torch.zeros(n_items))
        self.register_buffer("side", side)
        self.side_in = nn.Linear(side.shape[1], d, bias=False)
        self.side_out = nn.Linear(side.shape[1], d, bias=False)
        self.num = nn.Linear(5, d)
        self.pos = nn.Embedding(cfg.L + 1, d)
        nn.init.normal_(self.pos.weight, std=.02)
        self.query = nn.Sequential(nn.Linear(2, 32), nn.GELU(), nn.Linear(32, d))
        layer = lambda: nn.TransformerEncoderLayer(d, cfg.heads, 2 * d, cfg.dropout, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.ModuleList(layer() for _ in range(cfg.layers))
        self.norm = nn.LayerNorm(d)
        self.head = nn.Sequential(nn.Linear(d, d), nn.GELU(), nn.Dropout(cfg.dropout), nn.Linear(d, d))
        self.drop = nn.Dropout(cfg.dropout)

    def items_in(self):
        e = self._dropped(self.inp.weight[:-2])
        if self.cfg.text:
            e = e + self.side_in(self.side)
        return torch.cat([e, self.inp.weight[-2:]])

    def _dropped(self, e):
        """Whole items without their id, so that the side features learn to stand alone."""
        if not (self.training and self.cfg.id_drop): return e
        return e * (torch.rand(len(e), 1, device=e.device) >= self.cfg.id_drop)

    def items_out(self):
        e = self._dropped(self.out.weight)
        if self.cfg.tied: e = e + self.inp.weight[:-2]
        if self.cfg.text: e = e + self.side_out(self.side)
        return e

    def states(self, items, nums, age, gap):
        """(B, T, d) after each of the events."""
        e = self.items_in()
        x = e[items] + self.num(nums) + self.pos(age.clamp(max=self.cfg.L))
        x = self.drop(x)
        T = items.shape[1]
        causal = torch.ones(T, T, dtype=torch.bool, device=items.device).triu(1)
        pad = items == self.inp.num_embeddings - 1
        causal = causal[None] | pad[:, None, :]
        causal = causal & ~torch.eye(T, dtype=torch.bool, device=items.device)
        m = torch.zeros(causal.shape, device=items.device).masked_fill(causal, -1e9)
        m = m.repeat_interleave(self.cfg.heads, 0)
        for b in self.blocks:
            x = b(x, src_mask=m)
        x = self.norm(x)
        return x + self.head(x + self.query(gap))

    def logits(self, h, out=None):
        out = self.items_out() if out is None else out
        return h @ out.T * (1 / math.sqrt(self.cfg.d)) * 4 + self.bias


def numbers(d, rows, prev_t):
    """(n, 5) numbers of events: positive, value centred, log gap to the previous event, new session, tied."""
    gap = np.log1p(np.maximum(d.t[rows] - prev_t, 0) / 1e6)
    v = d.value[rows]
    return np.stack([d.pos[rows], (v - 3.5) / 1.2, gap / 5, gap > np.log(3600), gap == 0], 1).astype(np.float32)


def log_gap(dt):
    g = np.log1p(np.maximum(dt, 0) / 1e6)
    return np.stack([g / 5, g > np.log(3600)], -1).astype(np.float32)


class Sequences:
    """Events of users before `upto`, as arrays from which windows are cut."""
    def __init__(self, d, upto):
        self.d = d
        self.rows = [r for u in range(d.n_users) if len(r := d.rows_by_user[d.ptr[u]:d.ptr[u + 1]]) and (r := r[r < upto]).size]

    def windows(self, rng, L):
        """Each event is a target once: windows of L events that overlap by half, at a random phase."""
        out = []
        for k, r in enumerate(self.rows):
            n = len(r)
            if n <= L:
                out.append((k, 0, n, 0)); continue
            step = L // 2
            first = int(rng.integers(step, L + 1))
            out.append((k, 0, first, 0))
            at = first
            while at < n:
                end = min(at + step, n)
                out.append((k, max(0, end - L), end, at)); at = end
        return out

    def batch(self, wins, cfg):
        d = self.d; B = len(wins); T = max(e - s for _, s, e, _ in wins) + 1
        I = d.n_items
        items = np.full((B, T), I + 1); nums = np.zeros((B, T, 5), np.float32); age = np.zeros((B, T), np.int64)
        gap = np.zeros((B, T, 2), np.float32)
        P, J, W = [], [], []          # flat position, target, weight
        seen_b, seen_i, seen_p = [], [], []
        for b, (k, s, e, new) in enumerate(wins):
            r = self.rows[k]; w = r[s:e]; n = len(w)
            t = d.t[w]
            prev = np.concatenate([[d.t[r[s - 1]] if s else t[0]], t[:-1]])
            items[b, 0] = I if s == 0 else I
            items[b, 1:n + 1] = d.item[w]
            nums[b, 1:n + 1] = numbers(d, w, prev)
            age[b, 1:n + 1] = np.arange(1, n + 1)
            # the state that precedes event j strictly: at place lo[j] (0 is the start)
            lo = np.searchsorted(t, t, side="left")
            gap[b, lo] = log_gap(t - np.where(lo > 0, t[np.maximum(lo - 1, 0)], t))
            js = np.arange(n)
            first_known = lo > 0 if s > 0 else np.ones(n, bool)
            ok = (js >= new - s) & first_known
            wt = np.where(d.pos[w], 1.0, cfg.neg_weight)
            sel = ok & (wt > 0)
            P.append(b * T + lo[sel]); J.append(d.item[w][sel]); W.append(wt[sel])
            if cfg.ahead > 1:
                g = np.unique(lo)
                gi = np.searchsorted(g, lo)
                for a in range(1, cfg.ahead):
                    has = sel & (gi >= a)
                    src = g[np.maximum(gi - a, 0)]
                    has &= (src > 0) | (s == 0)
                    P.append(b * T + src[has]); J.append(d.item[w][has]); W.append(wt[has] * cfg.gamma ** a)
            seen_b.append(np.full(e, b)); seen_i.append(d.item[r[:e]])
            seen_p.append(np.concatenate([np.zeros(s, np.int64), np.arange(1, n + 1)]))
        c = np.concatenate
        return dict(items=torch.from_numpy(items), nums=torch.from_numpy(nums), age=torch.from_numpy(age), gap=torch.from_numpy(gap),
                    P=torch.from_numpy(c(P)), J=torch.from_numpy(c(J).astype(np.int64)), W=torch.from_numpy(c(W).astype(np.float32)),
                    seen=(torch.from_numpy(c(seen_b)), torch.from_numpy(c(seen_p)), torch.from_numpy(c(seen_i).astype(np.int64))))


def fit(model, d, upto, epochs, seed=0, lr=None, log=None, opt=None, device="cpu", seqs=None):
    cfg = model.cfg; rng = np.random.default_rng(seed); torch.manual_seed(seed)
    seqs = seqs or Sequences(d, upto)
    opt = torch.optim.AdamW(model.parameters(), lr=cfg.lr, weight_decay=cfg.wd, betas=(.9, .98))
    wins = seqs.windows(rng, cfg.L); steps = epochs * math.ceil(len(wins) / cfg.batch)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, lr or cfg.lr, total_steps=int(steps * 1.2) + 5, pct_start=.15)
    for ep in range(epochs):
        model.train(); t0 = time.time(); tot = n = 0.
        wins = seqs.windows(rng, cfg.L)
        ln = np.array([e - s for _, s, e, _ in wins]); order = np.argsort(ln + rng.uniform(0, 8, len(ln)))
        batches = [order[i:i + cfg.batch] for i in range(0, len(order), cfg.batch)]
        for bi in rng.permutation(len(batches)):
            x = seqs.batch([wins[i] for i in batches[bi]], cfg)
            if not len(x["P"]): continue
            x = {k: (tuple(y.to(device) for y in v) if isinstance(v, tuple) else v.to(device)) for k, v in x.items()}
            h = model.states(x["items"], x["nums"], x["age"], x["gap"])
            B, T, _ = h.shape
            up, inv = torch.unique(x["P"], return_inverse=True)
            lg = model.logits(h.reshape(B * T, -1)[up])
            if cfg.mask_seen:
                first = torch.full((B, d.n_items), T + 1, device=device)
                first.index_put_((x["seen"][0], x["seen"][2]), x["seen"][1])  # one touch per pair in these data
                b, p = up // T, up % T
                lg = lg.masked_fill(first[b] <= p[:, None], -1e9)
            lse = lg.logsumexp(1)
            loss = (x["W"] * (lse[inv] - lg[inv, x["J"]])).sum() / x["W"].sum()
            opt.zero_grad(); loss.backward(); nn.utils.clip_grad_norm_(model.parameters(), 5.); opt.step(); sched.step()
            tot += float(loss.detach()) * float(x["W"].sum()); n += float(x["W"].sum())
        if log: log(ep, tot / n, time.time() - t0)
    return model


@torch.inference_mode()
def encode(model, d, rows, device="cpu"):
    """(Q, d) states of queries from the last L events strictly before."""
    model.eval(); L = model.cfg.L; I = d.n_items; outs = []
    for at in range(0, len(rows), 512):
        part = rows[at:at + 512]
        hs = [history(d, r)[-L:] for r in part]
        T = max(map(len, hs)) + 1
        items = np.full((len(part), T), I + 1); nums = np.zeros((len(part), T, 5), np.float32); age = np.zeros((len(part), T), np.int64)
        gap = np.zeros((len(part), T, 2), np.float32); last = np.zeros(len(part), np.int64)
        for b, (w, q) in enumerate(zip(hs, part)):
            n = len(w); items[b, 0] = I; last[b] = n
            if not n: continue
            t = d.t[w]; p0 = d.nb[q] - n
            before = d.t[d.rows_by_user[d.ptr[d.user[q]] + p0 - 1]] if p0 > 0 else t[0]
            items[b, 1:n + 1] = d.item[w]; nums[b, 1:n + 1] = numbers(d, w, np.concatenate([[before], t[:-1]]))
            age[b, 1:n + 1] = np.arange(1, n + 1)
            gap[b, n] = log_gap(d.t[q] - t[-1])
        h = model.states(*(torch.from_numpy(x).to(device) for x in (items, nums, age, gap)))
        outs.append(h[torch.arange(len(part)), torch.from_numpy(last)].cpu())
    return torch.cat(outs)


@torch.inference_mode()
def score(model, d, rows, device="cpu"):
    h = encode(model, d, rows, device).to(device)
    return model.logits(h).cpu().numpy()


def side_of(d, k=64):
    x = d.text - d.text.mean(0)
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    t = x @ vt[:k].T; t /= t.std()
    y = ((d.year - d.year.mean()) / (d.year.std() + 1e-9))[:, None]
    return torch.from_numpy(np.concatenate([t, d.genres, y], 1).astype(np.float32))


if __name__ == "__main__":
    import sys
    torch.set_num_threads(1)
    d = load_ml(); rows = queries(d, "validation"); Q = Queries(d, rows)
    kw = eval(f"dict({sys.argv[1]})") if len(sys.argv) > 1 else {}
    ep = kw.pop("epochs", 12); seed = kw.pop("seed", 0)
    cfg = SeqConfig(**kw); torch.manual_seed(seed)
    m = Seq(cfg, d.n_items, side_of(d))
    def log(e, l, s):
        if e % 4 == 3 or e == ep - 1: print(e, round(l, 3), f"{s:.1f}s", f"cpu {time.process_time():.0f}", end=" "); show(str(kw), ranks(score(m, d, rows), Q.ok, Q.target))
    fit(m, d, d.n_train, ep, seed, log=log)
    torch.save(m.state_dict(), f"seq_{abs(hash(str(kw))) % 10**6}.pt")
