from baselines import *
def rows_matrix(d, rows, weight, last=60):
    """(rows, I) csr of weighted recent history strictly before each row."""
    indptr, ev = hist_csr(d, rows); n = np.diff(indptr)
    q = np.repeat(np.arange(len(rows)), n); age = (np.repeat(indptr[1:], n) - 1) - np.arange(len(ev))
    w = weight(age, d.pos[ev]); k = (age < last) & (w != 0)
    return sp.csr_matrix((w[k].astype(np.float32), (q[k], d.item[ev][k])), shape=(len(rows), d.n_items))
if __name__ == "__main__":
    d = load_ml(); rows = queries(d, "validation"); Q = Queries(d, rows)
    pos = np.flatnonzero(d.pos[:d.n_train])
    pop = np.bincount(d.item[pos], minlength=d.n_items).astype(np.float32)
    for name, f in {"1/sqrt pos": lambda a, p: p / np.sqrt(1 + a), "1/sqrt pos+.3": lambda a, p: (p + .3 * (1 - p)) / np.sqrt(1 + a), "1/(3+a) all": lambda a, p: (p + .3 * (1 - p)) * 3 / (3 + a), "sqrt(5+a)": lambda a, p: (p + .3 * (1 - p)) / np.sqrt(5 + a)}.items():
        t0 = time.time()
        H = rows_matrix(d, pos, f)
        H.data /= 1
        l2 = np.sqrt(np.asarray(H.multiply(H).sum(1)).ravel()) + 1
        for norm in (0, 1):
            Hn = sp.diags(1 / l2) @ H if norm else H
            G = np.asarray((Hn.T @ Hn).todense()).astype(np.float64)
            Y = sp.csr_matrix((np.ones(len(pos), np.float32), (np.arange(len(pos)), d.item[pos])), shape=(len(pos), d.n_items))
            C = np.asarray((Hn.T @ Y).todense()).astype(np.float64)
            Hq = rows_matrix(d, rows, f)
            if norm: Hq = sp.diags(1 / (np.sqrt(np.asarray(Hq.multiply(Hq).sum(1)).ravel()) + 1)) @ Hq
            for lam in ((300, 1000, 3000) if not norm else (10, 50, 200)):
                M = np.linalg.solve(G + lam * np.eye(len(G)), C).astype(np.float32)
                show(f"slit {name} norm {norm} lam {lam}", ranks(Hq @ M + 1e-6 * pop, Q.ok, Q.target))
        print(time.time() - t0)
