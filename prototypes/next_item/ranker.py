"""A ranker on slates: softmax over a positive's candidates as of its instant, corrected for their sampling."""
from common import *
import torch, torch.nn as nn, time
torch.set_num_threads(1)
STRATA = ((40, 40), (150, 30), (500, 25), (None, 10))  # of the fused order: up to this place, so many drawn


def user_context(d, Q):
    """(Q, 6) of the request: broadcast to its candidates."""
    n = d.nb[Q.rows]; p = np.bincount(Q.q, d.pos[Q.ev], len(Q.rows)); last = np.zeros(len(Q.rows), np.int64)
    np.maximum.at(last, Q.q, d.t[Q.ev])
    gap = np.log1p(np.where(n > 0, (Q.t - last) / 1e6, 0))
    prev = np.bincount(Q.q, d.t[Q.ev] == last[Q.q], len(Q.rows))
    return np.stack([np.log1p(n) / 3 - 1, (p + 3) / (n + 6) - .5, gap / 5 - 1, gap > np.log(3600), np.log1p(prev), n == 0], 1).astype(np.float32)


class Net(nn.Module):
    """A linear score whose weights the request shifts, and a small network beside it."""
    def __init__(self, nf, nc, width=64, drop=.1):
        super().__init__()
        self.lin = nn.Linear(nf, 1)
        self.net = nn.Sequential(nn.Linear(nf + nc, width), nn.GELU(), nn.Dropout(drop), nn.Linear(width, width), nn.GELU(), nn.Dropout(drop), nn.Linear(width, 1))
        self.gate = nn.Linear(nc, nf); nn.init.zeros_(self.gate.weight); nn.init.zeros_(self.gate.bias)
    def forward(self, x, c):
        c_ = c[:, None].expand(-1, x.shape[1], -1)
        return self.net(torch.cat([x, c_], -1)).squeeze(-1) + self.lin(x).squeeze(-1) + (x * self.gate(c)[:, None]).sum(-1)


def first_order(F, ok, weights):
    """(Q, I) items best first by a fixed fusion; what is not allowed comes last."""
    s = sum(w * F[k].astype(np.float32) for k, w in weights.items())
    return np.argsort(-np.where(ok, s, -1e9), 1).astype(np.int16)


def slates(order, target, ok, seed, strata=STRATA):
    """(Q, 1 + n) codes with the target first, and (Q, 1 + n) log of the inverse chance of being drawn; -inf where not usable."""
    rng = np.random.default_rng(seed); q, I = order.shape
    parts, logw = [target[:, None].astype(np.int64)], [np.zeros((q, 1), np.float32)]
    lo = 0
    for hi, n in strata:
        hi = hi or I
        if n >= hi - lo: pick = np.repeat(np.arange(lo, hi)[None], q, 0)
        else: pick = lo + np.argpartition(rng.random((q, hi - lo), dtype=np.float32), n, 1)[:, :n]
        parts.append(np.take_along_axis(order, pick, 1).astype(np.int64)); logw.append(np.full((q, pick.shape[1]), np.log((hi - lo) / pick.shape[1]), np.float32))
        lo = hi
    s, w = np.concatenate(parts, 1), np.concatenate(logw, 1)
    bad = ~np.take_along_axis(ok, s, 1) | (s == target[:, None]); bad[:, 0] = False
    w[bad] = -1e9
    return s, w


def gather(F, qs, s):
    """(q, m, f) features."""
    return np.stack([f[qs[:, None], s] for f in F], -1)


def fit_ranker(x, logw, ctx, epochs=4, lr=2e-3, batch=256, seed=0, width=64, drop=.1, wd=1e-2, weight=None, net=None, device="cpu"):
    """x (q, m, f) float16, the target at place 0."""
    torch.manual_seed(seed); rng = np.random.default_rng(seed)
    net = (net or Net(x.shape[2], ctx.shape[1], width, drop)).to(device)
    opt = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=wd)
    steps = epochs * (-(-len(x) // batch)); sched = torch.optim.lr_scheduler.OneCycleLR(opt, lr, total_steps=steps + 1, pct_start=.1)
    x, logw, ctx = (torch.as_tensor(a).to(device) for a in (x, logw, ctx)); losses = []
    for ep in range(epochs):
        net.train(); perm = torch.from_numpy(rng.permutation(len(x))).to(device); tot = k = 0
        for b in perm.split(batch):
            y = net(x[b].float(), ctx[b]) + logw[b]
            l = -y.log_softmax(1)[:, 0]
            loss = l.mean() if weight is None else (l * weight[b]).mean()
            opt.zero_grad(); loss.backward(); opt.step(); sched.step(); tot += loss.item(); k += 1
        losses.append(round(tot / k, 4))
    print("  losses", losses)
    return net.eval()


@torch.inference_mode()
def rank_with(net, F, Q, qs, order, ctx, depth=500):
    """Ranks of the targets: the first `depth` by the net, the rest after them; and the top 10."""
    out = np.zeros(len(qs)); top = np.zeros((len(qs), 10), np.int64)
    for at in range(0, len(qs), 256):
        q = qs[at:at + 256]; o = order[at:at + 256].astype(np.int64); s = o[:, :depth]
        y = net(torch.from_numpy(gather(F, q, s)).float(), torch.from_numpy(ctx[q])).numpy()
        y = np.where(np.take_along_axis(Q.ok[q], s, 1), y, -1e9)
        full = np.concatenate([np.take_along_axis(s, np.argsort(-y, 1), 1), o[:, depth:]], 1)
        out[at:at + 256] = (full == Q.target[q][:, None]).argmax(1) + 1
        top[at:at + 256] = full[:, :10]
    return out, top
