"""Every family, in one, two and five features and in both dtypes: for laws that hold for all.

They are mclust's fourteen, those with one and two factors, and a family of a user's own.
"""

import contextlib
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxgmm
from jaxgmm.families.registry import FOURTEEN, family_class

LOW_RANK = [f"{stem}-{q}" for stem in ("factors", "ppca", "tied-factors", "tied-ppca") for q in (1, 2)]  # fmt: skip
OWN = "AR(1)"
NAMES = (*FOURTEEN, *LOW_RANK, OWN)
FEATURES = (1, 2, 5)
DTYPES = ("float64", "float32")
# Each family is contained in the one after it.
CHAINS = (
    "EII VII", "EII EEI VEI VVI", "EEI EVI VVI VVE VVV", "EEI EEE VEE VVE", "VEI VEE VEV",
    "EVI EVE EVV", "EEE EVE VVE", "EEE EEV VEV VVV", "EEV EVV VVV",
    "ppca-1 factors-1 factors-2 VVV", "ppca-1 ppca-2 factors-2", "tied-ppca-1 ppca-1",
    "tied-ppca-1 tied-factors-1 factors-1", "tied-factors-1 tied-factors-2 factors-2",
    "tied-ppca-1 tied-ppca-2 ppca-2", f"{OWN} VVV",
)  # fmt: skip
PAIRS = [pair for chain in map(str.split, CHAINS) for pair in itertools.pairwise(chain)]


class AR1(jaxgmm.Family):
    """Covariances σ² ρ^|i−j|, as on the page of the families."""

    log_sd: jax.Array
    logit: jax.Array

    def frame(self, d):
        rho = jnp.tanh(self.logit)[:, None, None]
        below, unit = jnp.eye(d, k=-1)[None], jnp.eye(d)[None]
        root = jnp.where(jnp.arange(d)[None, :, None] == 0, 1, jnp.sqrt(1 - rho**2))
        return jaxgmm.Dense.of(jnp.exp(-self.log_sd)[:, None, None] * (unit - rho * below) / root)

    @classmethod
    def identity(cls, k, d, dtype):
        return cls(jnp.zeros(k, dtype), jnp.full(k, 0.1, dtype))


# The table of families is as it was, except where a test asks for this one.
AR1 = jaxgmm.family(OWN)(AR1)
del jaxgmm.FAMILIES[OWN]


@contextlib.contextmanager
def own_family():
    """AR(1) is a family while the context lasts."""
    jaxgmm.FAMILIES[OWN] = AR1
    try:
        yield AR1
    finally:
        del jaxgmm.FAMILIES[OWN]


@pytest.fixture(autouse=True, scope="module")
def _own_family():
    with own_family():
        yield


def exists(name, d):
    """Whether the family has fewer factors than there are features."""
    return name not in LOW_RANK or int(name[-1]) < d


def cases(chosen, *more):
    """Parameters for pytest: each family and number of features, and each of `more` if it is given.

    Those that are not in the set `chosen` are thorough tests.
    """
    listed = [case for case in itertools.product(NAMES, FEATURES, *more) if exists(*case[:2])]
    return [
        pytest.param(
            case, marks=() if case in chosen else pytest.mark.thorough, id=", ".join(map(str, case))
        )
        for case in listed
    ]


@contextlib.contextmanager
def optimized():
    """Programs are optimized, as those of users are."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


@contextlib.contextmanager
def precision(dtype):
    """JAX's default dtype is this one."""
    with jax.enable_x64(dtype == "float64"):
        yield


def random_member(name, k, d, dtype, seed, size=0.4):
    """A member with random leaves, any of which are valid."""
    flat, unravel = ravel_pytree(family_class(name).identity(k, d, dtype))
    draw = size * np.random.default_rng(seed).normal(size=flat.shape)
    return unravel(flat + jnp.asarray(draw, dtype))


def dense_on_host(member, k, d):
    """Covariances (k, d, d) in float64."""
    factor = member.factor_on_host(d)
    factor = factor if factor.ndim == 3 else factor[:, :, None] * np.eye(d)
    root = np.linalg.inv(factor)
    return np.broadcast_to(root @ np.swapaxes(root, 1, 2), (k, d, d))
