"""The two ways to take one pass over the data. They agree to rounding.

*Whitened*: residuals y = W x − W μ of every component, then their sums. Safe for tight components
far from the centre.
*Natural*: the log-joint is linear in features φ(x) that do not depend on the mixture, so a pass is
two matrix products. Faster, and as good where second moments about the centre keep enough digits.

Rows come as columns of x (d, b), already centred.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .covariance import matmul
from .mixture import Mixture

# Rounding that the natural kernel may add to a log-density, relative to its own size.
SAFE_ROUNDING = {"float32": 1e-4, "float64": 1e-10}
BLOCK_BYTES = 1 << 19
SMALL = 4096


def posterior(log_joint: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Responsibilities (k, b) and log p (b,) from a log-joint (k, b).

    As e/Σe with e = exp(a − max a): sums to 1 however far away a row lies."""
    largest = jax.lax.stop_gradient(jnp.max(log_joint, axis=0))
    unscaled = jnp.exp(log_joint - largest[None])
    total = jnp.sum(unscaled, axis=0)
    return unscaled / total[None], largest + jnp.log(total)


class Whitened:
    """Residuals in each component's own units."""

    def __init__(self, mixture: Mixture):
        self.mixture = mixture
        self.constants = mixture.log_constants

    @property
    def width(self) -> int:
        """How many numbers are held for each row."""
        return self.mixture.means.size

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
    """Natural parameters times features; the features are the same for every mixture."""

    def __init__(self, mixture: Mixture):
        self.mixture = mixture
        self.parameters = mixture.covariance.natural(
            mixture.means, jnp.where(mixture.present, mixture.log_constants, 0)
        )

    @property
    def width(self) -> int:
        """How many numbers are held for each row."""
        return sum(self.parameters.shape)

    def log_joint(self, x):
        """(k, b), and what `sums` needs of the block."""
        features = self.mixture.covariance.features(x)
        joint = matmul(self.parameters, features)
        return jnp.where(self.mixture.present[:, None], joint, -jnp.inf), features

    def sums(self, x, features, share):
        """What to add up over blocks, for shares w r (k, b)."""
        return matmul(features, share.T)

    def statistics(self, sums):
        """Mass, shift and spread: raw moments, moved to each component's mean and whitened."""
        means, covariance = self.mixture.means, self.mixture.covariance
        mass, first, second = covariance.moments(sums, self.mixture.n_features)
        moved = first - mass[:, None] * means
        second = second - 2 * covariance.outer(first, means)
        second = second + covariance.outer(mass[:, None] * means, means)
        spread = covariance.whiten_second(covariance.pool(second))
        return mass, covariance.whiten(moved), spread


KERNELS = {"whitened": Whitened, "natural": Natural}
LANES = "lanes"  # the axis over which mixtures that share their rows are vmapped


def block_rows(kernel: Whitened | Natural, lanes: int = 1) -> int:
    """Rows in a block, so that what is held for them by each of the lanes side by side stays in a
    core's cache (or fills a GPU)."""
    row_bytes = lanes * kernel.width * kernel.mixture.dtype.itemsize
    size = BLOCK_BYTES if jax.default_backend() == "cpu" else 256 * BLOCK_BYTES
    return 1 << min(max((size // row_bytes).bit_length() - 1, 6), 16)


def natural_is_safe(mixture: Mixture, limits=SAFE_ROUNDING) -> jax.Array:
    """Whether the natural kernel keeps its rounding under the limit at this mixture."""
    growth = jnp.where(mixture.present, mixture.covariance.amplification(mixture.means), 0)
    rounding = 2 * jnp.finfo(mixture.dtype).eps * jnp.max(growth)
    return rounding <= limits[str(mixture.dtype)]


def settled(name: str, n: int) -> str:
    """The kernel's name as far as n rows settle it: "auto" is whitened for few rows, where both
    kernels are quick."""
    return "whitened" if name == "auto" and n <= SMALL else name


def with_kernel(name: str, mixture: Mixture, n: int, run):
    """run(kernel) for the kernel of that name, or for the one that a rule picks:

    "auto": whitened for n ≤ 4096 rows; else natural where `natural_is_safe`, and whitened where it
    is not. (Under vmap this computes both, beyond 4096 rows: name one there.)
    "lanes", under vmap over the axis `LANES`: natural where it is safe for every lane, whatever n,
    since the lanes share its features; else whitened.
    """
    name = settled(name, n)
    if name in KERNELS:
        return run(KERNELS[name](mixture))
    safe = natural_is_safe(mixture)
    if name == "lanes":
        safe = jax.lax.pmin(safe.astype(jnp.int32), LANES) > 0
    return jax.lax.cond(safe, lambda m: run(Natural(m)), lambda m: run(Whitened(m)), mixture)
