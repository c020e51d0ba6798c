"""EM of mixtures of factor analyzers in NumPy, float64, as textbooks write it, on dense covariances.

The means move first, and then the loadings Λ and the noise Ψ, with the factors missing too; the
factors' covariance goes into the loadings (Liu, Rubin & Wu 1998). It shares no code with the
library.
"""

import numpy as np
import reference


def covariances_of(parts):
    return np.stack([a @ a.T + np.diag(noise) for a, noise in parts])


def em_step(weights, means, parts, x, pseudo_rows=0.0, own=True, isotropic=False):
    """One step; returns the new parameters, and the gain of Q + log prior in nats."""
    covariances, d = covariances_of(parts), x.shape[1]
    joint = reference.log_joint(weights, means, covariances, x)
    resp = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
    mass = resp.sum(axis=0)
    new_weights, new_means = mass / mass.sum(), resp.T @ x / mass[:, None]
    gain = mass @ np.log(new_weights / weights)
    centered = x - x.mean(axis=0)
    prior = pseudo_rows * centered.T @ centered / len(x)
    expected, left = [], []
    for k, (a, _) in enumerate(parts):
        move = new_means[k] - means[k]
        gain += mass[k] * move @ np.linalg.solve(covariances[k], move) / 2
        rows = x - new_means[k]
        count = mass[k] + pseudo_rows
        moment = ((resp[:, k, None] * rows).T @ rows + prior) / count
        beta = a.T @ np.linalg.inv(covariances[k])
        with_factor = moment @ beta.T
        factor = np.eye(a.shape[1]) - beta @ a + beta @ moment @ beta.T
        new = with_factor @ np.linalg.inv(factor)
        expected.append((count, moment, with_factor, factor, new))
        left.append(np.diag(moment - new @ with_factor.T))
    counts, left = np.array([e[0] for e in expected]), np.stack(left)
    if isotropic:
        left = np.tile(left.mean(axis=1, keepdims=True), (1, d))
    if not own:
        left = np.tile(counts @ left / counts.sum(), (len(parts), 1))
    new_parts = []
    for (a, noise), (count, moment, with_factor, factor, new), new_noise in zip(
        parts, expected, left, strict=True
    ):

        def q(a, noise, spread, count=count, moment=moment, with_factor=with_factor, factor=factor):
            square = np.diag(moment - 2 * a @ with_factor.T + a @ factor @ a.T)
            return -count / 2 * (
                np.log(noise).sum() + (square / noise).sum()
                + np.linalg.slogdet(spread)[1] + np.trace(np.linalg.solve(spread, factor))
            )  # fmt: skip

        gain += q(new, new_noise, factor) - q(a, noise, np.eye(a.shape[1]))
        new_parts.append((new @ np.linalg.cholesky(factor), new_noise))
    return (new_weights, new_means, new_parts), gain
