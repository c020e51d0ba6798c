"""Members of low-rank families from dense covariances: for starts, and for a user's parameters.

At given noise Ψ, the likeliest loadings are the leading eigenvectors of Ψ^(−½) S Ψ^(−½) (Jöreskog
1967, Psychometrika 32). With the same noise in all features the noise has a closed form too
(Tipping & Bishop 1999, J. Royal Stat. Soc. B 61). Otherwise it is searched for by Newton's method,
or guessed, where a fit follows.
"""

from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ..internal.pytrees import pytree
from ..numerics import lapack
from ..numerics.logarithms import logarithm_and_excess
from ..numerics.unit_matrix import unit_matrix
from .family import Family
from .triangular_layout import TriangularLayout

if TYPE_CHECKING:
    from .low_rank import LowRank

# Steps towards the member that is closest to covariances: of Newton's method on the host, and of
# alternating between loadings and noise in a compiled program.
MOST_STEPS = 200
TRACED_STEPS = 100


def likeliest_noise(
    squares: jax.Array, mass: jax.Array, own_noise: bool, isotropic: bool
) -> jax.Array:
    """Return the logarithm of the likeliest noise (1|k, 1|d), from sums of squares (k, d)."""
    count = jnp.where(mass > 0, mass, 0)[:, None] + jnp.zeros_like(squares)
    if isotropic:
        squares, count = (jnp.sum(sums, axis=1, keepdims=True) for sums in (squares, count))
    if not own_noise:
        squares, count = (jnp.sum(sums, axis=0, keepdims=True) for sums in (squares, count))
    # Noise of a component without rows does not change.
    empty = count == 0
    return logarithm_and_excess(jnp.where(empty, 1, squares), jnp.where(empty, 1, count))[0]


# Not a member of a low-rank family, because rows seen without factors do not say where factors are.
@pytree
@dataclasses.dataclass(frozen=True)
class FactorStart(Family):
    """Uncorrelated covariances, from whose M-step a low-rank family starts.

    The second moments in its units are dense, and `likeliest` returns the member of the low-rank
    family that is made from them. A local is such a member in units of the scales.

    Attributes:
      log_scales: (k, d) logarithms of the features' standard deviations.
      kind: the low-rank family.
    """

    log_scales: jax.Array
    kind: type[LowRank] = dataclasses.field(metadata={"static": True})

    @classmethod
    def identity(cls, k, d, dtype):
        raise NotImplementedError("this family is only made by LowRank.of_scales")

    @classmethod
    def n_parameters(cls, k, d):
        return k * (d * (d + 1) // 2)

    def frame(self, d):
        return TriangularLayout(
            -self.log_scales,
            jnp.zeros((len(self.log_scales), d * (d - 1) // 2), self.log_scales.dtype),
        )

    def zero_local(self):
        k, d = self.log_scales.shape
        return self.kind.identity(k, d, self.log_scales.dtype)

    def likeliest(self, moments, mass, d):
        used = mass > 0
        unit = unit_matrix(d, moments.dtype)[None]
        count = jnp.where(used, mass, 1)[:, None, None]
        covariances = jnp.where(used[:, None, None], moments / count, unit)
        return _in_units(self.kind, covariances, mass, self._unit_scales())

    def _unit_scales(self) -> jax.Array:
        """Return standard deviations (1, d) in whose units a local describes its noise.

        The covariances are equal, so that those of one component are those of all. Where all
        features have the same noise, they keep the ratios of their scales.
        """
        log_scales = self.log_scales[:1]
        if self.kind.isotropic:
            log_scales = log_scales - self._common(log_scales)
        return jnp.exp(log_scales if self.kind.isotropic else jnp.zeros_like(log_scales))

    def _common(self, log_scales: jax.Array) -> jax.Array:
        """Return the logarithm (1, 1) of the root mean square of the scales."""
        d = log_scales.shape[1]
        total = jax.nn.logsumexp(2 * log_scales, axis=1, keepdims=True)
        return (total - jnp.log(jnp.asarray(d, log_scales.dtype))) / 2

    def moved(self, local):
        log_scales = self.log_scales[:1]
        base = self._common(log_scales) if self.kind.isotropic else log_scales
        return self.kind(local.noise - base, local.loadings)


def _in_units(
    kind: type[LowRank], covariances: jax.Array, mass: jax.Array, scales: jax.Array
) -> LowRank:
    """Return the member for covariances (k, d, d), of which rows are multiplied by scales (1, d).

    It is the likeliest one where all features have the same noise. Otherwise it is near it: its
    correlations have the leading eigenvectors of the given ones, and their other eigenvalues are
    replaced by their mean.
    """
    covariances = covariances * scales[..., None] * scales[:, None, :]
    width = jnp.sqrt(jnp.diagonal(covariances, axis1=-2, axis2=-1))
    if kind.isotropic:
        width = jnp.ones_like(width)
    correlations = covariances / (width[..., None] * width[:, None, :])
    values, vectors = (part[..., ::-1] for part in lapack.eigh(correlations))
    q = kind.rank
    rest = jnp.mean(values[:, q:], axis=1, keepdims=True)
    squares = (mass[:, None] * width**2) * rest
    noise = likeliest_noise(squares, mass, kind.own_noise, kind.isotropic)
    length = jnp.sqrt(jnp.maximum(values[:, :q] - rest, 0))
    loadings = (width * jnp.exp(-noise / 2))[..., None] * vectors[..., :q] * length[:, None, :]
    return kind(-noise / 2, loadings)


def closest_member(kind: type[LowRank], covariances: Any, xp: ModuleType) -> LowRank:
    """Return the member closest to dense covariances (k, d, d), in the Kullback–Leibler divergence.

    xp is numpy or jax.numpy, and the arrays are of that kind. With jax.numpy the search takes a
    fixed number of steps, and may end before it is there.
    """
    k, d = covariances.shape[:2]
    if xp is jnp:
        unit = jnp.ones((1, d), covariances.dtype)
        member = _in_units(kind, covariances, jnp.ones(k, covariances.dtype), unit)
        if kind.isotropic:
            return member
        improve = lambda _, noise: _next_noise(kind, covariances, noise)
        noise = jax.lax.fori_loop(0, TRACED_STEPS, improve, -2 * member.noise)
        return kind(-noise / 2, _loadings_at(kind, covariances, noise)[0])
    if kind.isotropic:
        values = np.linalg.eigvalsh(covariances)[:, : d - kind.rank]
        axis = 1 if kind.own_noise else None
        noise = np.log(np.mean(values, axis=axis, keepdims=True))
    else:
        noise = _search_noise(covariances, kind.rank, kind.own_noise)
    return kind(-noise / 2, _loadings_on_host(covariances, noise, kind.rank))  # type: ignore[arg-type]


def _loadings_at(
    kind: type[LowRank], covariances: jax.Array, noise: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the likeliest loadings (k, d, q) at a logarithm of noise, and the units (·, d)."""
    unit = jnp.exp(noise / 2)
    scaled = covariances / (unit[..., None] * unit[:, None, :])
    values, vectors = (part[..., : -kind.rank - 1 : -1] for part in lapack.eigh(scaled))
    return vectors * jnp.sqrt(jnp.maximum(values - 1, 0))[:, None, :], unit


def _next_noise(kind: type[LowRank], covariances: jax.Array, noise: jax.Array) -> jax.Array:
    """Return the logarithm of the noise that the likeliest loadings leave."""
    loadings, unit = _loadings_at(kind, covariances, noise)
    variances = jnp.diagonal(covariances, axis1=-2, axis2=-1)
    left = variances - jnp.sum((loadings * unit[..., None]) ** 2, axis=-1)
    left = jnp.maximum(left, jnp.finfo(left.dtype).eps * variances)
    return jnp.log(left if kind.own_noise else jnp.mean(left, axis=0, keepdims=True))


def _eigen_on_host(covariances: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return descending eigenvalues and eigenvectors of covariances in units of the noise."""
    unit = np.exp(noise / 2)
    values, vectors = np.linalg.eigh(covariances / (unit[..., None] * unit[:, None, :]))
    return values[:, ::-1], vectors[:, :, ::-1]


def _loadings_on_host(covariances: np.ndarray, noise: np.ndarray, rank: int) -> np.ndarray:
    noise = np.broadcast_to(noise, (len(noise), covariances.shape[-1]))
    values, vectors = _eigen_on_host(covariances, noise)
    length = np.sqrt(np.maximum(values[:, :rank] - 1, 0))
    return vectors[..., :rank] * length[:, None, :]


def _search_noise(covariances: np.ndarray, rank: int, own_noise: bool) -> np.ndarray:
    """Return the logarithm (1|k, d) of the noise of the closest factor models.

    Newton's method with the Hessian of Jöreskog 1967, eq. 24, which is exact where the covariances
    have such factors.
    """
    start = -np.log(np.diagonal(np.linalg.inv(covariances), axis1=1, axis2=2))
    if not own_noise:
        return _newton(covariances, start.mean(axis=0), rank)[None]
    return np.stack(
        [_newton(one[None], noise, rank) for one, noise in zip(covariances, start, strict=True)]
    )


def _newton(covariances: np.ndarray, noise: np.ndarray, rank: int) -> np.ndarray:
    """Return the logarithm (d,) of the noise that is common to these covariances (k, d, d)."""

    def look(noise: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        values, vectors = _eigen_on_host(covariances, noise[None])
        rest, axes = values[:, rank:], vectors[:, :, rank:]
        if not (rest > 0).all():
            return np.inf, noise, np.eye(len(noise))
        distance = float(np.sum(rest - np.log(rest) - 1))
        slope = np.einsum("km,kjm->j", 1 - rest, axes**2)
        return distance, slope, np.sum((axes @ np.swapaxes(axes, 1, 2)) ** 2, axis=0)

    distance, slope, hessian = look(noise)
    for _ in range(MOST_STEPS):
        ridge = 1e-12 * np.trace(hessian) * np.eye(len(noise))
        step = -np.linalg.solve(hessian + ridge, slope)
        step *= min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-300))
        for length in 0.5 ** np.arange(20):
            nearer = look(noise + length * step)
            if nearer[0] < distance:
                break
        else:
            break
        noise = noise + length * step
        distance, slope, hessian = nearer
    return noise
