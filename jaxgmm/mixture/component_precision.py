"""What float32 can resolve: a warning where a number that is returned cannot be right to 1 %.

Float32 holds 24 binary digits. Around 10⁶ its numbers lie 0.06 apart, so that a mean there is off
by up to 0.03, and so are the rows. A covariance matrix in which the other columns leave less than
10⁻⁵ of a column's variance loses that direction, since its entries are rounded.

Everything here runs on the host, in NumPy, on values; inside jit and vmap there are none to judge.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import numpy as np

from ..data.column_precision import CURE, TOLERATED
from ..internal import checks
from ..internal.warn import warn

# ---- mixtures ----------------------------------------------------------------------------------


def _whitening(mixture) -> np.ndarray:
    """W in float64: its diagonals (c, d) where that is all, else lower-triangular (c, d, d)."""
    d = mixture.means.shape[1]
    log_diagonal, lower = (np.asarray(part, np.float64) for part in mixture.covariance.entries())
    if log_diagonal.shape[1] < d or d == 1:  # a scale for each feature, or one for all
        scales = np.exp(log_diagonal).reshape(len(mixture.covariance.log_diagonal), -1)
        return np.broadcast_to(scales, (len(scales), d))
    factor = np.zeros((len(log_diagonal), d * d))
    factor[:, :: d + 1] = np.exp(log_diagonal)
    factor[:, _places_below_diagonal(d)] = lower
    return factor.reshape(-1, d, d)


@functools.cache
def _places_below_diagonal(d: int) -> np.ndarray:
    """Where the entries below the diagonal stand in a flat (d, d) matrix, row by row."""
    return np.flatnonzero(np.tri(d, k=-1))


def _inverse(factor: np.ndarray) -> np.ndarray:
    """W⁻¹ of lower-triangular factors (c, d, d), row by row. (LAPACK starts threads even for small
    matrices, and on a busy machine they wait for one another for seconds.)"""
    found = np.zeros_like(factor)
    for i in range(factor.shape[1]):
        found[:, i, i] = 1
        found[:, i] -= np.einsum("cj,cjl->cl", factor[:, i, :i], found[:, :i])
        found[:, i] /= factor[:, i, i, None]
    return found


class Widths(NamedTuple):
    """Of each present component and feature (k, d): which component it is (k,), its mean, its
    standard deviation, and its *own width*, the standard deviation given the other features."""

    component: np.ndarray
    mean: np.ndarray
    whole: np.ndarray
    own: np.ndarray

    @classmethod
    def of(cls, mixture) -> Widths:
        """The widths of a mixture, in float64."""
        present = mixture.logits > -np.inf
        factor = _whitening(mixture)
        if factor.ndim == 2:
            own = whole = 1 / factor
        else:
            own = 1 / np.sqrt(np.sum(factor**2, axis=1))
            whole = np.sqrt(np.sum(_inverse(factor) ** 2, axis=2))
        each = lambda widths: np.broadcast_to(widths, mixture.means.shape)[present]
        means = np.asarray(mixture.means, np.float64)[present]
        return cls(np.flatnonzero(present), means, each(whole), each(own))


def warn_of_coarse_components(
    mixture, extent=None, *, matrices: bool = True, kernel: str = "whitened"
) -> None:
    """Warns of a component, in float32, that is not held to 1 %: once, of the one that is worst.

    Rounding moves means, and rows whose columns run from low to high (`extent`, (d,) both), by half
    the distance of neighboring numbers there: that is compared with the component's own width.
    Rounding the entries of a covariance matrix changes the variances given the other features by
    about eps/2 of the whole ones: that is compared with the own ones where `matrices`, i.e. where
    the matrix is what the caller reads. What the natural kernel rounds (see `kernels.rounding`)
    counts where that is the `kernel`.

    Mixtures that are traced, in float64, or not finite pass.
    """
    if checks.traced(mixture) or mixture.dtype != np.float32 or np.ndim(mixture.means) != 2:
        return
    mixture = jax.device_get(mixture)
    if kernel != "natural" and _clearly_held(mixture, extent, matrices):
        return
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(mixture.covariance)):
        return
    found = Widths.of(mixture)
    reach = np.maximum(np.abs(found.mean), found.whole)
    if extent is not None:  # all rows are so far from zero, and coordinates start among them
        low, high = (np.asarray(end, np.float64) for end in extent)
        reach = np.maximum(reach, np.maximum(low, -high))
    step = np.spacing(reach.astype(np.float32)).astype(np.float64)
    moved = step / 2 / found.own
    lost = np.finfo(np.float32).eps / 2 * np.sqrt(np.sum((found.whole / found.own) ** 4, axis=1))
    if np.max(moved) > TOLERATED:
        warn(_too_narrow(found, reach, step, np.unravel_index(np.argmax(moved), moved.shape)))
    elif matrices and np.max(lost) > TOLERATED:
        warn(_nearly_singular(found, np.argmax(lost)))
    elif kernel == "natural" and 2 * _natural_rounding(mixture) > TOLERATED:
        warn(
            "kernel='natural' rounds a component that is narrow, or far from the mean of the rows, "
            "by more than 1 % of its covariance in float32: leave kernel at 'auto'."
        )


def _clearly_held(mixture, extent, matrices: bool) -> bool:
    """Whether a bound that needs no inverse shows that every component is held to 1 %.

    P = D⁻¹ Σ⁻¹ D⁻¹ with D² = diag Σ⁻¹ has ones on its diagonal, so that the largest ratio of a
    whole variance to the own one, the largest entry of diag P⁻¹, is at most e / |P|: the product of
    the other eigenvalues is at most e, by their mean. The determinant is read off W.
    """
    factor, ratio = _whitening(mixture), 1.0
    if factor.ndim == 2:
        precision = factor**2
    else:
        precision = np.einsum("cij,cij->cj", factor, factor)
        share = np.einsum("cii->ci", factor) ** 2 / precision
        ratio = np.e / np.maximum(np.min(np.prod(share, axis=1)), np.finfo(np.float64).tiny)
    reach = np.abs(mixture.means)
    if extent is not None:
        reach = np.maximum(reach, np.max(np.abs(extent), axis=0))
    moved = np.maximum(np.max(reach * np.sqrt(precision)), ratio**0.5)
    lost = ratio**2 * precision.shape[1] ** 0.5 if matrices else 0.0
    # NaN compares as false: parameters that are not finite are not clearly held.
    return bool(np.finfo(np.float32).eps / 2 * np.maximum(moved, lost) <= TOLERATED)


def _natural_rounding(mixture) -> float:
    """`kernels.rounding` about the mixture's mean, on the host."""
    found = Widths.of(mixture)
    factor = _whitening(mixture)
    share = np.exp(mixture.logits - np.max(mixture.logits))[found.component]
    center = np.average(found.mean, axis=0, weights=share)
    reach = np.abs(found.mean - center) + found.whole
    factor = factor[found.component] if len(factor) > 1 else factor
    if factor.ndim == 2:
        scaled = (factor * reach) ** 2
    else:
        scaled = np.einsum("cji,cjl->cil", factor, factor) * reach[:, :, None] * reach[:, None, :]
    size = np.sqrt(np.sum(scaled.reshape(len(reach), -1) ** 2, axis=1))
    return 2 * np.finfo(np.float32).eps * np.max(size)


def _too_narrow(found: Widths, reach: np.ndarray, step: np.ndarray, place) -> str:
    k, j = place
    own, whole = found.own[k, j], found.whole[k, j]
    given = " given the other columns" if own < whole / 2 else ""
    return (
        f"component {found.component[k]} has a standard deviation of {own:.3g} in column {j}"
        f"{given}, {reach[k, j]:.8g} from zero, where float32 numbers lie {step[k, j]:.2g} apart: "
        f"it is not held to 1 %. {CURE}"
    )


def _nearly_singular(found: Widths, k: int) -> str:
    left = (found.own[k] / found.whole[k]) ** 2
    j = np.argmin(left)
    return (
        f"component {found.component[k]} has a covariance that is nearly singular, and float32 "
        f"does not hold it to 1 %: the other columns leave {left[j]:.1g} of the variance of column "
        f"{j}, where float32 resolves 1e-5. Leave the column out, take family='diagonal', or "
        "compute in float64 under `with jax.enable_x64(True):`."
    )
