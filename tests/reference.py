"""An independent reference in NumPy and SciPy, float64, written for clarity: dense covariances,
an n×k array, no shared code with the library."""

import numpy as np
from scipy.stats import multivariate_normal


def log_joint(weights, means, covariances, x):
    with np.errstate(divide="ignore"):
        return np.stack(
            [
                np.log(w) + multivariate_normal(m, c, allow_singular=False).logpdf(x).reshape(-1)
                for w, m, c in zip(weights, means, covariances, strict=True)
            ],
            axis=1,
        )


def log_likelihood(weights, means, covariances, x, weight=None):
    joint = log_joint(weights, means, covariances, x)
    rows = np.logaddexp.reduce(joint, axis=1)
    return rows.sum() if weight is None else weight @ rows


def em_step(weights, means, covariances, x, family, weight=None, pseudo_rows=0.0):
    """One EM update; pseudo_rows > 0 adds the default prior of that strength."""
    n, d = x.shape
    weight = np.ones(n) if weight is None else weight
    joint = log_joint(weights, means, covariances, x)
    resp = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True)) * weight[:, None]
    mass = resp.sum(axis=0)
    means = resp.T @ x / mass[:, None]
    scatter = np.stack(
        [(r[:, None] * (x - m)).T @ (x - m) for r, m in zip(resp.T, means, strict=True)]
    )
    centered = x - weight @ x / weight.sum()
    prior = pseudo_rows * (weight[:, None] * centered).T @ centered / weight.sum()
    if family == "tied":
        pooled = (scatter.sum(axis=0) + prior) / (mass.sum() + pseudo_rows)
        covariances = np.broadcast_to(pooled, scatter.shape)
    else:
        covariances = (scatter + prior) / (mass + pseudo_rows)[:, None, None]
    if family == "diagonal":
        covariances = covariances * np.eye(d)
    if family == "spherical":
        variance = np.trace(covariances, axis1=1, axis2=2) / d
        covariances = variance[:, None, None] * np.eye(d)
    return mass / mass.sum(), means, covariances


def distance(found, weights, means, covariances):
    """The largest difference of parameters, in units of each component's own covariance."""
    worst = np.abs(np.asarray(found.weights, float) - weights).max()
    for m, c, m0, c0 in zip(
        np.asarray(found.means, float), np.asarray(found.covariances, float), means, covariances,
        strict=True,
    ):  # fmt: skip
        whiten = np.linalg.inv(np.linalg.cholesky(c0))
        worst = max(worst, np.abs(whiten @ (m - m0)).max())
        worst = max(worst, np.abs(whiten @ c @ whiten.T - np.eye(len(c0))).max())
    return worst


def random_mixture(seed, k, d, family, spread=2.0):
    """Weights, means and dense covariances that the family can hold."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(k, 5.0))
    means = spread * rng.normal(size=(k, d))
    root = rng.normal(size=(k, d, d)) * 0.4 + np.eye(d)
    covariances = root @ np.swapaxes(root, 1, 2) + 0.05 * np.eye(d)
    if family == "tied":
        covariances = np.broadcast_to(covariances[0], covariances.shape).copy()
    if family == "diagonal":
        covariances = covariances * np.eye(d)
    if family == "spherical":
        covariances = covariances[:, :1, :1] * np.eye(d)
    return weights, means, covariances


def start(x, k, family, dtype=np.float64):
    """k rows far apart, even weights, the data's variances: the same in every precision."""
    rows = x[np.linspace(0, len(x) - 1, k).astype(int)]
    variance = x.var(axis=0).mean() if family == "spherical" else x.var(axis=0)
    covariances = np.stack([variance * np.eye(x.shape[1])] * k)
    return [a.astype(dtype) for a in (np.full(k, 1 / k), rows, covariances)]
