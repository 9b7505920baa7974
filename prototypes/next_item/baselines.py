from common import *
import scipy.sparse as sp, time

def interaction_matrix(d, upto, positives=True, weight=None):
    keep = np.arange(upto)
    if positives: keep = keep[d.pos[:upto]]
    w = np.ones(len(keep), np.float32) if weight is None else weight[keep]
    X = sp.csr_matrix((w, (d.user[keep], d.item[keep])), shape=(d.n_users, d.n_items))
    return X

def ease(X, lam):
    """(I, I) of item weights with a zero diagonal (Steck 2019)."""
    G = np.asarray((X.T @ X).todense(), dtype=np.float64)
    G[np.diag_indices_from(G)] += lam
    P = np.linalg.inv(G)
    B = -P / np.diag(P)[None]
    np.fill_diagonal(B, 0)
    return B.astype(np.float32)

def knn_tfidf(X, k=100):
    n = X.shape[0]
    idf = np.log(n / (1 + np.asarray((X > 0).sum(0)).ravel()))
    # users as documents of an item: idf by user
    Y = X.T.tocsr().astype(np.float64)                       # items x users
    udf = np.log(Y.shape[0] / (1 + np.asarray((Y > 0).sum(0)).ravel()))
    Y = Y @ sp.diags(udf)
    norm = np.sqrt(np.asarray(Y.multiply(Y).sum(1)).ravel()) + 1e-9
    Y = sp.diags(1 / norm) @ Y
    S = np.asarray((Y @ Y.T).todense(), dtype=np.float32)
    np.fill_diagonal(S, 0)
    if k and k < S.shape[1]:
        cut = np.partition(S, -k, axis=1)[:, -k][:, None]
        S[S < cut] = 0
    return S

def ials(X, rank=32, reg=0.1, alpha=1.0, iters=12, seed=0, unobs=None):
    """Item factors; fold_in(H) gives user factors."""
    rng = np.random.default_rng(seed)
    U, I = X.shape
    V = rng.normal(0, .1, (I, rank)); W = rng.normal(0, .1, (U, rank))
    XT = X.T.tocsr(); X = X.tocsr()
    def half(A, V):
        G = V.T @ V + reg * np.eye(rank)
        out = np.zeros((A.shape[0], rank))
        for u in range(A.shape[0]):
            s, e = A.indptr[u], A.indptr[u+1]
            if s == e: continue
            Vu = V[A.indices[s:e]]; c = alpha * A.data[s:e]
            out[u] = np.linalg.solve(G + (Vu * c[:, None]).T @ Vu, Vu.T @ (1 + c))
        return out
    for _ in range(iters):
        W = half(X, V); V = half(XT, W)
    return V.astype(np.float32), lambda H: half(H.tocsr(), V.astype(np.float64)).astype(np.float32)

def rules(d, upto, steps=10, positives=True):
    """(I, I): weight 1/distance of j after i in the sequences of users."""
    R = np.zeros((d.n_items, d.n_items), np.float32)
    rows = d.rows_by_user[d.rows_by_user < upto]
    if positives: rows = rows[d.pos[rows]]
    u, i = d.user[rows], d.item[rows]
    for s in range(1, steps + 1):
        same = u[s:] == u[:-s]
        np.add.at(R, (i[:-s][same], i[s:][same]), 1 / s)
    return R

if __name__ == "__main__":
    d = load_ml()
    print(d.n_items, d.n_users, d.n_train, d.n_past)
    for part, n in (("validation", 2000), ("test", 2000)):
        rows = queries(d, part, n)
        Q = Queries(d, rows); p = d.pos[Q.ev].astype(np.float32)
        print(part, len(rows), "hist len", np.median(d.nb[rows]), "no hist", (d.nb[rows] == 0).mean())
        Hp, Ha = Q.matrix(p), Q.matrix(np.ones_like(p))
        pop = np.bincount(d.item[:d.n_train][d.pos[:d.n_train]], minlength=d.n_items).astype(np.float32)
        show("pop train positives", ranks(np.repeat(pop[None], len(rows), 0), Q.ok, Q.target))
        X, Xa = interaction_matrix(d, d.n_train), interaction_matrix(d, d.n_train, False)
        for lam in (50, 200, 500, 1000):
            B = ease(X, lam)
            show(f"ease pos lam {lam}", ranks(Hp @ B + 1e-6 * pop, Q.ok, Q.target))
        for lam in (200, 500, 1000):
            B = ease(Xa, lam)
            show(f"ease all lam {lam}", ranks(Ha @ B + 1e-6 * pop, Q.ok, Q.target))
            show(f"ease all, hist pos", ranks(Hp @ B + 1e-6 * pop, Q.ok, Q.target))
        show("knn pos", ranks(Hp @ knn_tfidf(X, 100) + 1e-6 * pop, Q.ok, Q.target))
        show("knn all", ranks(Ha @ knn_tfidf(Xa, 100) + 1e-6 * pop, Q.ok, Q.target))
        t0 = time.time(); V, fold = ials(X, 32, .1 * 10, 10.); show("ials pos", ranks(fold(Hp) @ V.T, Q.ok, Q.target)); print(time.time() - t0)
        R = rules(d, d.n_train)
        h = Q.matrix((p > 0) * 0.9 ** 0 * (1 / (1 + Q.age)))
        show("rules pos, 1/age", ranks(h @ R + 1e-6 * pop, Q.ok, Q.target))
        R = rules(d, d.n_train, 10, False)
        h = Q.matrix((1 / (1 + Q.age)))
        show("rules all, 1/age", ranks(h @ R + 1e-6 * pop, Q.ok, Q.target))
