"""Families with few factors: Σ_k = Ψ_k^½ (I + B_k B_kᵀ) Ψ_k^½, with diagonal Ψ_k and B_k (d, q).

Each component is a factor analysis model with q factors (Ghahramani & Hinton 1996, Univ. Toronto
CRG-TR-96-1; McLachlan & Peel 2000, ch. 8). The noise Ψ may be one number for all features, which is
probabilistic principal component analysis (Tipping & Bishop 1999, Neural Computation 11), and may
be common to the components. These are the models UUU, UUC, UCU and UCC of McNicholas & Murphy 2008,
Statistics and Computing 18.

The M-step is one step of EM in which the factors are missing, at given responsibilities. EM remains
monotone (Meng & van Dyk 1997, J. Royal Stat. Soc. B 59), but where the noise of a feature goes to
zero (a *Heywood case*) it converges more slowly than any geometric series. `Gradient` with L-BFGS
moves the logarithm of the noise, and needs far fewer passes there.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ..internal.pytrees import pytree
from ..numerics.host_factors import lower_factor
from ..numerics.logarithms import exponential_excess, logarithm_and_excess
from ..numerics.products import matmul
from ..numerics.triangular import parts, small_cholesky, small_inverse, transpose
from ..numerics.unit_matrix import unit_matrix
from .has_logarithms import HasLogarithms
from .low_rank_from_dense import FactorStart, closest_member, likeliest_noise
from .low_rank_layout import LowRankLayout

# The information of loadings has this floor, in units of a row's: it is 0 where a factor has no
# loadings yet.
LEAST_INFORMATION = 1e-2


@dataclasses.dataclass(frozen=True)
class LowRank(HasLogarithms):
    """Noise of the features, and loadings on `rank` factors.

    `noise` (1|k, 1|d) is −½ log Ψ. `loadings` (k, d, q) is B, in units of the noise. A local has
    the same form, and is added to them. Subclasses fix the shape of the noise, and their subclasses
    (see `factors` and `ppca`) the number q of factors.

    Attributes:
      rank: the number q of factors.
      own_noise: whether each component has its own noise.
      isotropic: whether all features of a component have the same noise.
      stem: the family's name without the number of factors.
    """

    noise: jax.Array
    loadings: jax.Array
    rank: ClassVar[int]
    own_noise: ClassVar[bool] = True
    isotropic: ClassVar[bool] = False
    stem: ClassVar[str]
    log_leaf: ClassVar[str] = "noise"
    whitened_work: ClassVar[int] = 16

    @classmethod
    def identity(cls, k, d, dtype):
        noise = jnp.zeros((k if cls.own_noise else 1, 1 if cls.isotropic else d), dtype)
        return cls(noise, jnp.zeros((k, d, cls.rank), dtype))

    def frame(self, d):
        return LowRankLayout(self.noise, self.loadings)

    @classmethod
    def n_parameters(cls, k, d):
        """Return the number of free covariance parameters of k components.

        The loadings of a component count d q − q (q − 1)/2, because rotations of its factors change
        nothing. For (d − q)² < d + q, which is Ledermann's bound, different noise can give the same
        covariance; then this counts more parameters than a covariance has.
        """
        noise = (k if cls.own_noise else 1) * (1 if cls.isotropic else d)
        return noise + k * (d * cls.rank - cls.rank * (cls.rank - 1) // 2)

    @classmethod
    def depends_on_units(cls):
        return cls.isotropic

    # ---- M-step -------------------------------------------------------------------------------

    def maximize(self, moments, mass, d):
        """Return the member after a step of EM with missing factors, as a local, and the gain.

        The parameters are expanded by the factors' covariance, as in Liu, Rubin & Wu 1998,
        Biometrika 85: what the factors' moments differ from the unit matrix goes into the loadings.
        """
        used = mass > 0
        count = jnp.where(used, mass, 1)[:, None, None]
        cross, scores, errors = self.frame(d).with_factors(moments, mass)
        unit = unit_matrix(self.rank, moments.dtype)[None]
        root = small_cholesky(jnp.where(used[:, None, None], scores / count, unit))
        solved = small_inverse(root)
        cross = jnp.where(used[:, None, None], cross, 0)
        change = matmul(matmul(cross / count, transpose(solved)), solved)
        left = jnp.where(used[:, None], errors - jnp.sum(change * cross, axis=-1), 0)
        noise = -likeliest_noise(left, mass, self.own_noise, self.isotropic) / 2
        scale, own_noise = jnp.exp(noise)[..., None], jnp.broadcast_to(noise, left.shape)

        # B_new − B for B_new = scale (B + change) root
        bent = matmul(self.loadings, root - unit) + matmul(change, root)
        loadings = scale * bent + jnp.expm1(noise)[..., None] * self.loadings
        # Each line is not negative, except where components or features share noise.
        diagonal, lower = parts(root)
        excess = 2 * logarithm_and_excess(diagonal)[1] + (diagonal - 1) ** 2
        gain = (
            jnp.sum(change * cross / count, axis=(-2, -1))
            + jnp.sum(excess, axis=-1) + jnp.sum(lower**2, axis=-1)
            - jnp.sum(jnp.expm1(2 * own_noise) * (left / count[..., 0] - 1), axis=-1)
            - jnp.sum(exponential_excess(2 * own_noise), axis=-1)
        )  # fmt: skip
        return type(self)(noise, loadings), gain

    def likeliest(self, moments, mass, d):
        """Return the member after one M-step, because these moments lack the factors.

        Starts are made from dense moments instead (see `of_scales`).
        """
        return self.maximize(moments, mass, d)[0]

    def change(self, local, d):
        """Return the change of loadings and noise that `LowRankLayout.gain` documents."""
        shrunk = jnp.exp(-local.noise)[..., None]
        loadings = shrunk * local.loadings + jnp.expm1(-local.noise)[..., None] * self.loadings
        noise = jnp.broadcast_to(local.noise, loadings.shape[:2])
        change = jnp.concatenate([loadings, noise[..., None]], axis=-1)
        return change, -jnp.sum(exponential_excess(2 * noise), axis=-1) / 2

    # ---- geometry -----------------------------------------------------------------------------

    def metric(self, mass, d):
        layout = self.frame(d)
        count = jnp.where(mass > 0, mass, 1)
        # The diagonals of A = I + B Bᵀ and of its inverse, and I − V.
        width = 1 + jnp.sum(self.loadings**2, axis=-1)
        half = matmul(self.loadings, transpose(layout.inverse_root))
        precision = 1 - jnp.sum(half**2, axis=-1)
        cross = matmul(half, layout.inverse_root)
        explained = 1 - jnp.diagonal(layout.factor_covariance, axis1=-2, axis2=-1)
        explained = explained[:, None, :] + LEAST_INFORMATION
        loadings = count[:, None, None] * (cross**2 + precision[..., None] * explained)
        noise = count[:, None] * (precision * width + 1)
        shape = self.noise.shape
        if self.isotropic:
            noise = 2 * d * count[:, None]
        if shape[0] < len(count):
            noise = jnp.sum(noise, axis=0, keepdims=True)
        return type(self)(jnp.sqrt(jnp.broadcast_to(noise, shape)), jnp.sqrt(loadings))

    def gauge(self):
        k, _, q = self.loadings.shape
        first, second = np.triu_indices(q, 1)
        turns = np.zeros((len(first), q, q), self.loadings.dtype)
        turns[np.arange(len(first)), first, second] = 1
        turns = turns - np.swapaxes(turns, 1, 2)
        turned = jnp.einsum("kdq,gqr->gkdr", self.loadings, turns, precision="highest")
        own = unit_matrix(k, self.loadings.dtype)[:, None, :, None, None]
        directions = (own * turned[None]).reshape(-1, *self.loadings.shape)
        return type(self)(
            jnp.zeros((len(directions), *self.noise.shape), directions.dtype), directions
        )

    # ---- reading and writing ------------------------------------------------------------------

    @classmethod
    def from_own(cls, covariances, xp):
        return closest_member(cls, covariances, xp)

    @classmethod
    def of_scales(cls, scales, k):
        """Return a member of `FactorStart`, whose M-step leads to a member of this family."""
        return FactorStart(jnp.broadcast_to(jnp.log(scales)[None], (k, len(scales))), cls)

    def factor_on_host(self, d):
        loadings = np.asarray(self.loadings, np.float64)
        scale = np.exp(np.asarray(self.noise, np.float64))[..., None]
        unit = np.eye(self.rank)
        back = np.swapaxes(loadings, 1, 2)
        root = np.linalg.cholesky(unit + back @ loadings)
        inside = np.swapaxes(np.linalg.inv(unit + root), 1, 2) @ np.linalg.inv(root)
        factor = np.eye(d) - loadings @ inside @ back
        return lower_factor(factor * np.broadcast_to(scale[..., 0], (len(factor), d))[:, None, :])

    def __reduce__(self):
        return _restore, (self.stem, self.rank, self.noise, self.loadings)


class Factors(LowRank):
    """Own noise of each feature in each component: UUU, a mixture of factor analyzers."""

    stem = "factors"


class PPCA(LowRank):
    """Own noise of each component, equal in all features: UUC, probabilistic PCA."""

    stem = "ppca"
    isotropic = True


class TiedFactors(LowRank):
    """Noise of each feature that the components share: UCU."""

    stem = "tied-factors"
    own_noise = False


class TiedPPCA(LowRank):
    """One noise for all features and components: UCC."""

    stem = "tied-ppca"
    isotropic = True
    own_noise = False


KINDS: dict[str, type[LowRank]] = {
    kind.stem: kind for kind in (Factors, PPCA, TiedFactors, TiedPPCA)
}


@functools.cache
def of_rank(stem: str, rank: int) -> type[LowRank]:
    """Return the class of a family with this many factors, which is always the same one."""
    kind = KINDS[stem]
    names = {"__module__": __name__, "__qualname__": f"{kind.__name__}{rank}", "rank": rank}
    made = type(f"{kind.__name__}{rank}", (kind,), names)
    made = dataclasses.dataclass(frozen=True)(made)
    return pytree(made)


def _restore(stem: str, rank: int, noise: jax.Array, loadings: jax.Array) -> LowRank:
    return of_rank(stem, rank)(noise, loadings)


def __getattr__(name: str) -> type[LowRank]:
    """Return the class of this name, such as `Factors2`, which pickle looks up."""
    kinds = {kind.__name__: stem for stem, kind in KINDS.items()}
    stem = name.rstrip("0123456789")
    if stem not in kinds or stem == name:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return of_rank(kinds[stem], int(name[len(stem) :]))
