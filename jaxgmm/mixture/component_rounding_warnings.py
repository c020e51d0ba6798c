"""Warnings about components that float32 cannot represent to within 1 %.

Float32 has 24 binary digits. Around 10⁶ its numbers are 0.06 apart, so rounding moves a mean there,
and every row, by up to 0.03. Rounding the entries of a covariance matrix also loses any direction
in which the other columns leave less than about 10⁻⁵ of a column's variance.

Everything here runs on the host, in NumPy, on values. Under jit and vmap there are no values, and
nothing is checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from ..data.column_rounding_warnings import CURE, TOLERATED
from ..internal import checks
from ..internal.warn import warn

if TYPE_CHECKING:
    from .mixture import Mixture


def _inverse(factor: np.ndarray) -> np.ndarray:
    """Return W⁻¹ of lower-triangular factors (c, d, d), row by row.

    LAPACK is not used because it starts threads even for small matrices, and on a busy machine they
    wait for one another for seconds.
    """
    inverse = np.zeros_like(factor)
    for i in range(factor.shape[1]):
        inverse[:, i, i] = 1
        inverse[:, i] -= np.einsum("cj,cjl->cl", factor[:, i, :i], inverse[:, :i])
        inverse[:, i] /= factor[:, i, i, None]
    return inverse


class Widths(NamedTuple):
    """Means and standard deviations of each present component, in float64.

    Attributes:
      component: (k,) the number of the component in the mixture.
      mean: (k, d).
      deviation: (k, d) standard deviations.
      conditional: (k, d) standard deviations given the other features.
    """

    component: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    conditional: np.ndarray

    @classmethod
    def of(cls, mixture: Mixture) -> Widths:
        """Return the widths of a mixture."""
        present = mixture.logits > -np.inf
        factor = mixture.covariance.factor_on_host(mixture.means.shape[1])
        if factor.ndim == 2:
            conditional = deviation = 1 / factor
        else:
            conditional = 1 / np.sqrt(np.sum(factor**2, axis=1))
            deviation = np.sqrt(np.sum(_inverse(factor) ** 2, axis=2))
        of_present = lambda values: np.broadcast_to(values, mixture.means.shape)[present]
        return cls(
            component=np.flatnonzero(present),
            mean=np.asarray(mixture.means, np.float64)[present],
            deviation=of_present(deviation),
            conditional=of_present(conditional),
        )


def warn_of_coarse_components(
    mixture: Mixture,
    extent: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    matrices: bool = True,
    kernel: str = "whitened",
) -> None:
    """Warn if float32 does not represent a component to within 1 %.

    At most one warning is issued, about the worst component. There are three conditions:

    - Rounding moves means and rows by half the distance of neighboring numbers. This is compared
      with the component's standard deviation given the other features.
    - Rounding the entries of a covariance matrix changes the variances given the other features by
      about eps/2 of the variances. This counts if `matrices`, i.e. if the caller uses the matrices.
    - The natural kernel adds a rounding error (see `kernels.rounding_bounds.rounding`). This counts
      if `kernel` is "natural".

    Mixtures that are traced, in float64, or not finite are ignored.

    Args:
      mixture: the mixture.
      extent: the lowest and the highest value (d,) of each column of the rows, or None if there are
        no rows.
      matrices: whether the caller uses covariance matrices.
      kernel: the kernel that the caller uses.
    """
    if checks.traced(mixture) or mixture.dtype != np.float32 or np.ndim(mixture.means) != 2:
        return
    mixture = jax.device_get(mixture)
    if kernel != "natural" and _is_clearly_precise(mixture, extent, matrices):
        return
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(mixture.covariance)):
        return
    widths = Widths.of(mixture)
    reach = np.maximum(np.abs(widths.mean), widths.deviation)
    if extent is not None:
        # Where all rows lie far from zero on one side, means do so too: starts are among the rows.
        low, high = (np.asarray(end, np.float64) for end in extent)
        reach = np.maximum(reach, np.maximum(low, -high))
    spacing = np.spacing(reach.astype(np.float32)).astype(np.float64)
    mean_error = spacing / 2 / widths.conditional
    ratio = widths.deviation / widths.conditional
    variance_error = np.finfo(np.float32).eps / 2 * np.sqrt(np.sum(ratio**4, axis=1))
    if np.max(mean_error) > TOLERATED:
        worst, column = np.unravel_index(np.argmax(mean_error), mean_error.shape)
        warn(_too_narrow(widths, reach, spacing, int(worst), int(column)))
    elif matrices and np.max(variance_error) > TOLERATED:
        warn(_nearly_singular(widths, int(np.argmax(variance_error))))
    elif kernel == "natural" and 2 * _natural_rounding(mixture) > TOLERATED:
        warn(
            "kernel='natural' rounds the covariance of a component that is narrow, or far from the "
            "mean of the rows, by more than 1 % in float32: use kernel='auto'."
        )


def _is_clearly_precise(
    mixture: Mixture, extent: tuple[np.ndarray, np.ndarray] | None, matrices: bool
) -> bool:
    """Return whether a bound that needs no inverse shows that float32 is precise enough.

    P = D⁻¹ Σ⁻¹ D⁻¹ with D² = diag Σ⁻¹ has ones on its diagonal. The largest ratio of a variance to
    the variance given the other features is the largest entry of diag P⁻¹. It is at most e / |P|,
    because the product of all eigenvalues of P but the smallest is at most e, by their mean. The
    determinant follows from the diagonal of W.
    """
    factor, ratio = mixture.covariance.factor_on_host(mixture.means.shape[1]), 1.0
    if factor.ndim == 2:
        precision = factor**2
    else:
        precision = np.einsum("cij,cij->cj", factor, factor)
        fraction = np.einsum("cii->ci", factor) ** 2 / precision
        ratio = np.e / np.maximum(np.min(np.prod(fraction, axis=1)), np.finfo(np.float64).tiny)
    reach = np.abs(mixture.means)
    if extent is not None:
        reach = np.maximum(reach, np.max(np.abs(extent), axis=0))
    mean_error = np.maximum(np.max(reach * np.sqrt(precision)), ratio**0.5)
    with np.errstate(over="ignore"):  # with many features the ratio may be anything
        variance_error = ratio**2 * precision.shape[1] ** 0.5 if matrices else 0.0
    # NaN compares as false, so parameters that are not finite fail this check.
    error = np.finfo(np.float32).eps / 2 * np.maximum(mean_error, variance_error)
    return bool(error <= TOLERATED)


def _natural_rounding(mixture: Mixture) -> float:
    """Return `kernels.rounding_bounds.rounding` of the mixture moved to mean zero, on the host."""
    widths = Widths.of(mixture)
    factor = mixture.covariance.factor_on_host(mixture.means.shape[1])
    weights = np.exp(mixture.logits - np.max(mixture.logits))[widths.component]
    center = np.average(widths.mean, axis=0, weights=weights)
    reach = np.abs(widths.mean - center) + widths.deviation
    factor = factor[widths.component] if len(factor) > 1 else factor
    if factor.ndim == 2:
        scaled = (factor * reach) ** 2
    else:
        scaled = np.einsum("cji,cjl->cil", factor, factor) * reach[:, :, None] * reach[:, None, :]
    size = np.sqrt(np.sum(scaled.reshape(len(reach), -1) ** 2, axis=1))
    return 2 * np.finfo(np.float32).eps * np.max(size)


def _too_narrow(
    widths: Widths, reach: np.ndarray, spacing: np.ndarray, component: int, column: int
) -> str:
    """Return the warning about a component that is narrow against the spacing of numbers."""
    conditional = widths.conditional[component, column]
    deviation = widths.deviation[component, column]
    condition = " given the other columns" if conditional < deviation / 2 else ""
    return (
        f"component {widths.component[component]} has a standard deviation of {conditional:.3g} in "
        f"column {column}{condition}, {reach[component, column]:.8g} from zero, where float32 "
        f"numbers lie {spacing[component, column]:.2g} apart: float32 cannot represent the "
        f"component to within 1 %. {CURE}"
    )


def _nearly_singular(widths: Widths, component: int) -> str:
    """Return the warning about a component whose covariance matrix is nearly singular."""
    remaining = (widths.conditional[component] / widths.deviation[component]) ** 2
    column = np.argmin(remaining)
    return (
        f"component {widths.component[component]} has a covariance that is nearly singular, and "
        "float32 cannot represent it to within 1 %: the other columns leave "
        f"{remaining[column]:.1g} of the variance of column {column}, and float32 resolves 1e-5. "
        "Remove the column, use family='diagonal', or compute in float64 under "
        "`with jax.enable_x64(True):`."
    )
