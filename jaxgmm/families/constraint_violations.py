"""Which constraint of a family given covariances violate, in words, on the host."""

from __future__ import annotations

import numpy as np

# A violation counts if it exceeds this number: of a log-volume, of a log-shape, of a correlation.
TOLERANCE = 1e-5


def violation(covariances: np.ndarray, letters: str) -> str:
    """Return which of a family's three words these covariances contradict most, and by how much.

    Args:
      covariances: dense covariances (k, d, d), positive definite, in float64.
      letters: the family's three letters, e.g. "VVE".

    Returns:
      A clause such as "orientations differ by 0.31 rad, and VVE needs common axes", or "" if no
      single word is contradicted.
    """
    volume, shape, orientation = tuple(letters)
    found = [
        _orientation(covariances, orientation),
        _shape(covariances, shape, orientation),
        _volume(covariances, volume),
    ]
    excess, clause = max(found, key=lambda pair: pair[0])
    return clause.format(letters=letters) if excess > TOLERANCE else ""


def _volume(covariances: np.ndarray, word: str) -> tuple[float, str]:
    if word == "V":
        return 0.0, ""
    logs = np.linalg.slogdet(covariances)[1] / covariances.shape[-1]
    apart = float(np.ptp(logs))
    ratio = np.exp(apart)
    return (
        apart,
        f"volumes |Σ|^(1/d) differ by a factor of {ratio:.3g}, and {{letters}} needs equal ones",
    )


def _shape(covariances: np.ndarray, word: str, orientation: str) -> tuple[float, str]:
    """Compare relative variances along the axes, which are the features or the principal axes."""
    if word == "V":
        return 0.0, ""
    if orientation == "I":
        variances = np.diagonal(covariances, axis1=1, axis2=2)
    elif orientation == "E" and word == "E":
        # A common shape and orientation: the covariances are multiples of one another.
        root = np.linalg.inv(np.linalg.cholesky(covariances[0]))
        variances = np.linalg.eigvalsh(root @ covariances @ root.T)
        word = "I"
    else:
        variances = np.linalg.eigvalsh(covariances)
    logs = np.log(np.maximum(variances, np.finfo(float).tiny))
    logs = logs - logs.mean(axis=1, keepdims=True)
    if word == "I":
        apart = float(np.ptp(logs, axis=1).max())
        ratio = np.exp(apart)
        if orientation == "E":
            return apart, (
                f"one covariance is {ratio:.3g} times as large as a multiple of another in some "
                "direction, and {letters} needs multiples of one matrix"
            )
        return apart, (
            f"the variances of a component differ by a factor of {ratio:.3g}, and {{letters}} "
            "needs equal ones"
        )
    apart = float(np.ptp(logs, axis=0).max())
    return apart, (
        f"shapes differ by a factor of {np.exp(apart):.3g} along an axis, and {{letters}} needs "
        "equal ones"
    )


def _orientation(covariances: np.ndarray, word: str) -> tuple[float, str]:
    if word == "V":
        return 0.0, ""
    if word == "I":
        size = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
        correlation = np.abs(covariances / (size[:, :, None] * size[:, None, :]))
        correlation = np.tril(correlation, -1)
        where = np.unravel_index(np.argmax(correlation), correlation.shape)
        component, j, i = map(int, where)
        return float(correlation[where]), (
            f"features {i} and {j} of covariances[{component}] have a correlation of "
            f"{correlation[where]:.3g}, and {{letters}} needs axes along the features"
        )
    worst, which = 0.0, 0
    for i, covariance in enumerate(covariances[1:], start=1):
        angle = _angle(covariances[0], covariance)
        if angle > worst:
            worst, which = angle, i
    return worst, (
        f"the orientations of covariances[0] and covariances[{which}] differ by {worst:.2g} rad, "
        "and {letters} needs common axes"
    )


def _angle(first: np.ndarray, second: np.ndarray) -> float:
    """Return the angle by which the principal axes of two covariances differ, in their worst plane.

    Both are compared with the axes of a combination. Axes of equal variances are arbitrary and make
    no angle.
    """
    axes = np.linalg.eigh(first / np.trace(first) + second / (np.sqrt(2) * np.trace(second)))[1]
    total = np.zeros_like(first)
    for matrix in (first, second):
        seen = axes.T @ matrix @ axes
        variance = np.diag(seen)
        between = np.abs(seen - np.diag(variance))
        between[between < TOLERANCE * np.sqrt(np.outer(variance, variance))] = 0
        total += np.arctan2(2 * between, np.abs(variance[:, None] - variance[None])) / 2
    return float(total.max())
