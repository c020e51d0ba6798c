"""What is known of rows that are not fully observed, in lines of a summary."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.observed import Observed, pack
from ..mixture.mixture import Mixture
from ..objective.densities import responsibilities

# A standard deviation below this fraction of the noise is not resolved.
UNRESOLVED = 0.1


def evidence_lines(mixture: Mixture, x: Observed, names: Sequence[str]) -> list[str]:
    """Return sentences on missing values, labels, and components that the noise explains."""
    packed = pack(x)
    columns = packed.columns.of_each_row
    block = columns.split(np.asarray(packed.x).T)  # type: ignore[arg-type]
    features = np.asarray(block.x)
    missing = np.isnan(features).sum(axis=1)
    lines = []
    if missing.any():
        counts = [f"{names[i]} {missing[i]}" for i in np.argsort(-missing)[:6] if missing[i]]
        more = np.sum(missing > 0) - len(counts)
        others = f" and {more} more columns" if more > 0 else ""
        lines.append(
            f"{missing.sum()} of {features.size} values are missing: {', '.join(counts)}{others}"
        )
    if block.label is not None:
        known = int(np.sum(np.asarray(block.label) >= 0))
        lines.append(f"{known} of {features.shape[1]} rows have a known component")
    if block.noise is not None:
        noise = np.asarray(block.noise)
        lines.append(_size_of_noise(noise, features, names))
        lines += _unresolved(mixture, x, noise)
    return lines


def _diagonal(noise: np.ndarray, d: int) -> np.ndarray:
    """Return the positions of variances among the columns of noise, which has one row for each."""
    return np.arange(d) if len(noise) == d else np.arange(d) * (np.arange(d) + 3) // 2


def _size_of_noise(noise: np.ndarray, features: np.ndarray, names: Sequence[str]) -> str:
    """Return a sentence on the noise of the values (d, n) that are known."""
    deviations = np.sqrt(noise[_diagonal(noise, len(features))])
    typical = np.nanmedian(np.where(np.isnan(features), np.nan, deviations), axis=1)
    largest = np.argsort(-typical, kind="stable")[:6]
    sizes = ", ".join(f"{names[i]} {typical[i]:.2g}" for i in largest)
    others = ", …" if len(typical) > len(largest) else ""
    return (
        f"values have noise (median standard deviations: {sizes}{others}); covariances exclude it"
    )


def _unresolved(mixture: Mixture, x: Observed, noise: np.ndarray) -> list[str]:
    """Return a sentence for each component whose spread the noise of its rows explains."""
    d = mixture.n_features
    diagonal = _diagonal(noise, d)
    shares = np.asarray(responsibilities(mixture, x), np.float64)
    lines = []
    for k in np.flatnonzero(np.asarray(mixture.present)).tolist():
        share = shares[:, k] / max(shares[:, k].sum(), 1e-300)
        typical = np.diag(noise[diagonal] @ share)
        # The smallest variance relative to that of the noise, in any direction.
        scale = np.sqrt(np.maximum(np.diagonal(typical), 1e-300))
        covariance = np.asarray(mixture.covariances[k], np.float64)
        least = np.linalg.eigvalsh(covariance / (scale[:, None] * scale[None]))[0]
        if np.all(np.diagonal(typical) > 0) and least < UNRESOLVED**2:
            lines.append(f"component {k + 1} is not resolved: noise explains its spread")
    return lines
