"""Harness of the protocol "next positive": data, queries, histories, metrics."""
import os
os.environ.setdefault("OMP_NUM_THREADS", "1")
from dataclasses import dataclass
import glob
import numpy as np
try:
    import polars as pl
except ImportError:  # the machine of the sweep has none
    pl = None

BASE = ".fusion/movielens"


@dataclass
class Data:
    user: np.ndarray      # (N,) int32 codes
    item: np.ndarray      # (N,)
    t: np.ndarray         # (N,) int64 microseconds
    pos: np.ndarray       # (N,) bool
    value: np.ndarray     # (N,) float32
    known: np.ndarray     # (I,) int64, instant from which an item is known
    text: np.ndarray      # (I, d) float32
    genres: np.ndarray    # (I, G) float32
    year: np.ndarray      # (I,) float32
    uprof: np.ndarray     # (U, P) float32
    n_train: int
    n_past: int
    # derived
    nb: np.ndarray = None      # (N,) events of the same user strictly before
    ptr: np.ndarray = None     # (U+1,) into rows_by_user
    rows_by_user: np.ndarray = None
    first_tied: np.ndarray = None  # (N,) the first row with this row's instant: rows before it are strictly earlier

    @property
    def n_items(self): return len(self.known)
    @property
    def n_users(self): return len(self.uprof)


def load_ml():
    s = BASE + "/sources/"
    e = pl.read_parquet(s + "interactions.parquet").sort(["event_timestamp", "user_id", "item_id"])
    it = pl.read_parquet(s + "items.parquet").sort("item_id").unique("item_id", keep="first", maintain_order=True)
    us = pl.read_parquet(s + "users.parquet").sort("user_id").unique("user_id", keep="first", maintain_order=True)
    emb = pl.read_parquet(BASE + "/sinks/item_embedding__all_minilm_l6_v2_3d4145e4f38e/*.parquet").unique("item_id")
    icode = {x: k for k, x in enumerate(it["item_id"])}
    ucode = {x: k for k, x in enumerate(us["user_id"])}
    text = np.zeros((len(icode), 384), np.float32)
    for i, v in zip(emb["item_id"], emb["item_embedding"].to_list()):
        text[icode[i]] = v
    names = sorted({g for gs in it["genres"] if gs is not None for g in gs})
    G = np.zeros((len(icode), len(names)), np.float32)
    for k, gs in enumerate(it["genres"].to_list()):
        for g in gs or []:
            G[k, names.index(g)] = 1
    prof = np.zeros((len(ucode), 2), np.float32)
    prof[:, 0] = us["age"].fill_null(30).to_numpy() / 50
    prof[:, 1] = (us["gender"] == "M").to_numpy()
    n = len(e)
    n_past = n - int(n * .1); n_train = n_past - int(n_past * .1)
    d = Data(np.array([ucode[x] for x in e["user_id"]], np.int32), np.array([icode[x] for x in e["item_id"]], np.int32),
             e["event_timestamp"].dt.epoch("us").to_numpy(), e["positive"].to_numpy(), e["value"].to_numpy().astype(np.float32),
             it["event_timestamp"].dt.epoch("us").to_numpy(), text, G,
             it["year"].fill_null(1995).to_numpy().astype(np.float32), prof, n_train, n_past)
    return derive(d)


def derive(d):
    n = len(d.user)
    order = np.lexsort((np.arange(n), d.user))
    d.rows_by_user = order
    d.ptr = np.searchsorted(d.user[order], np.arange(d.n_users + 1))
    d.nb = np.zeros(n, np.int64)
    for u in range(d.n_users):
        r = order[d.ptr[u]:d.ptr[u + 1]]
        d.nb[r] = np.searchsorted(d.t[r], d.t[r], side="left")
    d.first_tied = np.searchsorted(d.t, d.t, side="left")
    return d


def queries(d, part, n=None, seed=0):
    """Rows of positives of a part."""
    lo, hi = {"train": (0, d.n_train), "validation": (d.n_train, d.n_past), "test": (d.n_past, len(d.user))}[part]
    rows = np.flatnonzero(d.pos[lo:hi]) + lo
    if n is not None and len(rows) > n:
        rows = np.sort(np.random.default_rng(seed).choice(rows, n, replace=False))
    return rows


def history(d, row):
    """Rows of the same user's events strictly before the row's instant, in time."""
    p = d.ptr[d.user[row]]
    return d.rows_by_user[p:p + d.nb[row]]


def hist_csr(d, rows):
    """(indptr, event rows) of the histories of the queries."""
    n = d.nb[rows]
    indptr = np.concatenate([[0], np.cumsum(n)])
    base = np.repeat(d.ptr[d.user[rows]] - indptr[:-1], n)
    return indptr, d.rows_by_user[base + np.arange(indptr[-1])]


def allowed(d, rows, repeats=False):
    """(Q, I) bool: known at the instant, not touched strictly before."""
    ok = d.known[None, :] <= d.t[rows][:, None]
    if not repeats:
        indptr, ev = hist_csr(d, rows)
        q = np.repeat(np.arange(len(rows)), np.diff(indptr))
        ok[q, d.item[ev]] = False
    ok[np.arange(len(rows)), d.item[rows]] = True
    return ok


def ranks(scores, ok, target):
    """Rank of the target among the allowed; ties count half."""
    s = scores[np.arange(len(target)), target][:, None]
    above = ((scores > s) & ok).sum(1)
    ties = ((scores == s) & ok).sum(1) - 1
    return 1 + above + ties / 2


def metrics(r, at=(200, 500)):
    r = np.asarray(r, float)
    m = {"ndcg10": np.where(r < 10.999, 1 / np.log2(1 + r), 0).mean(), "hr10": (r < 10.999).mean(), "mrr": (1 / r).mean()}
    for k in at:
        m[f"r{k}"] = (r <= k + .5).mean()
    return m


def show(name, r):
    m = metrics(r)
    line = f"{name:48s} " + " ".join(f"{k} {v:.4f}" for k, v in m.items())
    print(line, flush=True)
    return m


def zscore(s, ok):
    """Per row over the allowed."""
    n = ok.sum(1, keepdims=True)
    m = np.where(ok, s, 0).sum(1, keepdims=True) / n
    v = np.where(ok, (s - m) ** 2, 0).sum(1, keepdims=True) / n
    return (s - m) / np.sqrt(v + 1e-9)


def rrf(scores, ok, k=60):
    """Reciprocal rank of each source, summed."""
    out = np.zeros(scores[0].shape, np.float32)
    for s in scores:
        x = np.where(ok, s, -np.inf)
        rank = np.empty(x.shape, np.int32)
        np.put_along_axis(rank, np.argsort(-x, 1, kind="stable"), np.arange(x.shape[1], dtype=np.int32)[None], 1)
        out += 1 / (k + 1 + rank)
    return out


class Queries:
    """Everything of a set of query rows that scorers share."""
    def __init__(self, d, rows, repeats=False):
        self.d, self.rows = d, rows
        self.user, self.target, self.t = d.user[rows], d.item[rows], d.t[rows]
        self.indptr, self.ev = hist_csr(d, rows)
        self.q = np.repeat(np.arange(len(rows)), np.diff(self.indptr))
        n = np.diff(self.indptr)
        self.age = (np.repeat(self.indptr[1:], n) - 1) - np.arange(len(self.ev))  # 0 is the newest
        self.ok = allowed(d, rows, repeats)
        self.repeats = repeats

    def matrix(self, weight):
        """(Q, I) csr of summed weights of the history's events."""
        import scipy.sparse as sp
        m = sp.csr_matrix((weight.astype(np.float32), (self.q, self.d.item[self.ev])), shape=(len(self.rows), self.d.n_items))
        return m


def save_npz(d, path):
    np.savez_compressed(path, **{k: (getattr(d, k).astype(np.float16) if k == "text" else getattr(d, k)) for k in
                                 ("user", "item", "t", "pos", "value", "known", "text", "genres", "year", "uprof")}, split=[d.n_train, d.n_past])


def load_npz(path):
    z = np.load(path)
    x = {k: z[k] for k in ("user", "item", "t", "pos", "value", "known", "text", "genres", "year", "uprof")}
    x["text"] = x["text"].astype(np.float32)
    return derive(Data(**x, n_train=int(z["split"][0]), n_past=int(z["split"][1])))
