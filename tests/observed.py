"""References for rows that are not fully observed, in NumPy and SciPy: loops over rows."""

import numpy as np
from scipy.stats import multivariate_normal


def matrix_of(noise, i, d):
    if noise is None:
        return np.zeros((d, d))
    return np.diag(noise[i]) if noise.ndim == 2 else noise[i]


def log_joint(weights, means, covariances, x, noise=None, odds=None):
    """log π_k + log N of what was seen + log-odds, as (n, k)."""
    n, d = x.shape
    joint = np.tile(np.log(weights), (n, 1)) + (0 if odds is None else odds)
    for i in range(n):
        seen = ~np.isnan(x[i])
        if seen.any():
            for k in range(len(weights)):
                total = (covariances[k] + matrix_of(noise, i, d))[np.ix_(seen, seen)]
                joint[i, k] += multivariate_normal(means[k][seen], total).logpdf(x[i, seen])
    return joint


def em_step(weights, means, covariances, x, noise=None, odds=None):
    """One exact EM step: Ghahramani & Jordan 1994 for gaps, Bovy et al. 2011, eqs. 16–17, for
    noise; and the log-likelihood before it."""
    (n, d), k = x.shape, len(weights)
    joint = log_joint(weights, means, covariances, x, noise, odds)
    log_prob = np.logaddexp.reduce(joint, axis=1)
    r = np.exp(joint - log_prob[:, None])
    mass = r.sum(axis=0)
    b, rest = np.zeros((n, k, d)), np.zeros((n, k, d, d))
    for i in range(n):
        seen = ~np.isnan(x[i])
        for j in range(k):
            whole = covariances[j]
            total = (whole + matrix_of(noise, i, d))[np.ix_(seen, seen)]
            gain = whole[:, seen] @ np.linalg.inv(total)
            b[i, j] = means[j] + gain @ (x[i, seen] - means[j][seen])
            rest[i, j] = whole - gain @ whole[seen]
    means = np.einsum("nk,nkd->kd", r, b) / mass[:, None]
    moved = b - means[None]
    second = np.einsum("nk,nkd,nke->kde", r, moved, moved) + np.einsum("nk,nkde->kde", r, rest)
    return mass / n, means, second / mass[:, None, None], log_prob.sum()
