"""The two ways to take one pass over the data. They agree to rounding.

*Whitened*: residuals y = W x − W μ of every component, then their sums. Safe for tight components
far from the centre.
*Natural*: the log-joint is linear in features φ(x) that do not depend on the mixture, so a pass is
two matrix products. Faster, and as good where second moments about the centre keep enough digits.

Rows come as columns of x (d, b), already centred.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from .covariance import matmul
from .mixture import Mixture

# What `rounding` may be where the natural kernel is taken.
SAFE_ROUNDING = {"float32": 3e-5, "float64": 3e-11}
# A block on a CPU: a quarter of a core's own cache, since products repack what they read; where the
# block's sums are large, so many times these, so that adding them up costs little, as long as it
# fits the cache that cores share.
CORE_BYTES, SHARED_BYTES, TIMES_SUMS = 1 << 18, 1 << 23, 34
LEAST_ROWS, MOST_ROWS = 128, 1024
GPU_BYTES, GPU_MOST_ROWS = 1 << 27, 1 << 16
SMALL = 4096


def shares(log_joint: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Weighted responsibilities w r (k, b) and log p (b,), from a log-joint (k, b) and row weights.

    As w e/Σe with e = exp(a − max a): r sums to 1 however far away a row lies."""
    largest = jax.lax.stop_gradient(jnp.max(log_joint, axis=0))
    unscaled = jnp.exp(log_joint - largest[None])
    total = jnp.sum(unscaled, axis=0)
    return unscaled * (weight / total)[None], largest + jnp.log(total)


class Whitened:
    """Residuals in each component's own units.

    `lanes` is how many mixtures take the pass side by side (under vmap)."""

    def __init__(self, mixture: Mixture, lanes: int = 1):
        self.mixture = mixture
        self.lanes = lanes
        self.constants = mixture.log_constants

    @property
    def held(self) -> int:
        """How many numbers all lanes hold for each row: residuals, plain and weighted."""
        return 2 * self.lanes * self.mixture.means.size

    @property
    def summed(self) -> int:
        """How many numbers the sums of all lanes are, about."""
        k, d = self.mixture.means.shape
        return self.lanes * (k + k * d + self.mixture.covariance.n_parameters(k, d))

    def log_joint(self, x):
        """(k, b), and what `sums` needs of the block."""
        y = self.mixture.covariance.residuals(self.mixture.means, x)
        return self.constants[:, None] - jnp.sum(y**2, axis=1) / 2, y

    def sums(self, x, y, share):
        """What to add up over blocks, for shares w r (k, b)."""
        shift = jnp.sum(share[:, None] * y, axis=-1)
        return jnp.sum(share, axis=-1), shift, self.mixture.covariance.cross(share, y, x)

    def statistics(self, sums):
        """Mass, shift and spread from the sums over all blocks."""
        mass, shift, cross = sums
        return mass, shift, self.mixture.covariance.spread(cross, shift, self.mixture.means)


class Natural:
    """Natural parameters times features; the features are the same for every mixture.

    `lanes` is how many mixtures take the pass side by side (under vmap)."""

    def __init__(self, mixture: Mixture, lanes: int = 1):
        self.mixture = mixture
        self.lanes = lanes
        # Of absent components exp leaves 0; −∞ itself would turn products into NaN.
        lowest = jnp.finfo(mixture.dtype).min / 4
        self.parameters = mixture.covariance.natural(
            mixture.means, jnp.where(mixture.present, mixture.log_constants, lowest)
        )

    @property
    def held(self) -> int:
        """How many numbers all lanes hold for each row."""
        k, features = self.parameters.shape
        return self.lanes * k + features

    @property
    def summed(self) -> int:
        """How many numbers the sums of all lanes are."""
        return self.lanes * self.parameters.size

    @property
    def tall(self) -> bool:
        """Whether the sums are (f, k): a matrix product repacks its second factor, which had better
        be the smaller one."""
        k, features = self.parameters.shape
        return self.lanes * k < features

    def log_joint(self, x):
        """(k, b), and what `sums` needs of the block."""
        features = self.mixture.covariance.features(x)
        return matmul(self.parameters, features), features

    def sums(self, x, features, share):
        """What to add up over blocks, for shares w r (k, b)."""
        return matmul(features, share.T) if self.tall else matmul(share, features.T)

    def statistics(self, sums):
        """Mass, shift and spread: raw moments, moved to each component's mean and whitened."""
        means, covariance = self.mixture.means, self.mixture.covariance
        sums = sums.T if self.tall else sums
        mass, first, second = covariance.moments(sums, self.mixture.n_features)
        moved = first - mass[:, None] * means
        second = second - 2 * covariance.outer(first, means)
        second = second + covariance.outer(mass[:, None] * means, means)
        spread = covariance.whiten_second(covariance.pool(second))
        return mass, covariance.whiten(moved), spread


KERNELS = {"whitened": Whitened, "natural": Natural}


class Choice(NamedTuple):
    """Which kernel takes a pass, and for how many mixtures side by side (under vmap). `natural`, a
    boolean that they share, decides between the two kernels if it is given."""

    name: str = "auto"
    lanes: int = 1
    natural: jax.Array | None = None


def block_rows(kernel: Whitened | Natural) -> int:
    """Rows in a block, a power of two: as many as keep what is held for them in a core's cache (or
    fill a GPU)."""
    size, most = GPU_BYTES, GPU_MOST_ROWS
    itemsize = kernel.mixture.dtype.itemsize
    if jax.default_backend() == "cpu":
        worth = TIMES_SUMS * kernel.summed * itemsize
        size, most = min(max(worth, CORE_BYTES), SHARED_BYTES), MOST_ROWS
    rows = min(max(size // (kernel.held * itemsize), LEAST_ROWS), most)
    return 1 << rows.bit_length() - 1


def rounding(mixture: Mixture) -> jax.Array:
    """What rounding by the natural kernel may change a log-density by, in nats, or an entry of a
    component's second moments, in units of its present covariance. Trials over dimensions, widths
    and shapes found a fifth of it, and seldom more than all of it, with rows in random order. Where
    a block begins with a component's few rows and goes on with many that hardly belong to it, what
    these add is lost in its sums: up to 20 times as much."""
    growth = jnp.where(mixture.present, mixture.covariance.amplification(mixture.means), 0)
    return 2 * jnp.finfo(mixture.dtype).eps * jnp.max(growth)


def natural_is_safe(mixture: Mixture) -> jax.Array:
    """Whether the natural kernel keeps its rounding under SAFE_ROUNDING at this mixture."""
    return rounding(mixture) <= SAFE_ROUNDING[str(mixture.dtype)]


def settled(name: str, n: int) -> str:
    """The kernel's name as far as n rows settle it: "auto" is whitened for few rows, where both
    kernels are quick."""
    return "whitened" if name == "auto" and n <= SMALL else name


def with_kernel(kernel: str | Choice, mixture: Mixture, n: int, run):
    """run(kernel) for the kernel that was chosen, or under "auto" for the one the rule picks:

    whitened for n ≤ 4096 rows; else natural where `natural_is_safe`, and whitened where it is not.
    Under vmap, "auto" beyond 4096 rows computes both: name one there.
    """
    choice = kernel if isinstance(kernel, Choice) else Choice(kernel)
    name, natural = choice.name, choice.natural
    if natural is None:
        name = settled(name, n)
        if name in KERNELS:
            return run(KERNELS[name](mixture, choice.lanes))
        natural = natural_is_safe(mixture)
    return jax.lax.cond(
        natural,
        lambda m: run(Natural(m, choice.lanes)),
        lambda m: run(Whitened(m, choice.lanes)),
        mixture,
    )
