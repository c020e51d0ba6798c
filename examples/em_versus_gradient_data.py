"""The data of `em_versus_gradient.py`: factors and rows of simulated cells, and real data."""

import em_versus_gradient_report as report
import jax
import jax.numpy as jnp
import load
import numpy as np

import jaxgmm
from jaxgmm.internal.compiling import jit_with_options


def cell(d: int, k: int, ratio: int = 20, *, e: int = 10, weights: str = "equal",
         tails: str = "normal", dtype: str = "float64") -> dict:  # fmt: skip
    """Return the factors of a cell: e is the eccentricity, ratio the rows for each parameter."""
    n = ratio * report.parameters(d, k)
    return dict(study="simulated", d=d, K=k, n=n, e=e, weights=weights, tails=tails, dtype=dtype)


def draw_data_sets(factors: dict, count: int) -> tuple[jax.Array, np.ndarray]:
    """Return the rows (count, n, d), and the overlap of the closest pair in each data set."""
    shape = factors["n"], factors["d"], factors["K"]
    k = factors["K"]
    skewed = 2.0 ** -np.arange(k)
    weights = np.ones(k) / k if factors["weights"] == "equal" else skewed / skewed.sum()
    made = simulate_all(shape, jnp.arange(count), factors["c"], float(factors["e"]), weights)
    x = made.x
    if factors["tails"] == "heavy":  # rows of t components with five degrees of freedom
        means = jnp.take_along_axis(made.mixture.means, made.component[..., None], axis=1)
        scale = jnp.sqrt(jax.random.chisquare(jax.random.key(1), 5.0, (*x.shape[:2], 1)) / 5)
        x = means + (x - means) / scale
    return x.astype(factors["dtype"]), np.asarray(made.overlap).max(axis=(1, 2))


def _simulate_all(shape, seeds, separation, eccentricity, weights):
    simulate = lambda seed: jaxgmm.simulate(
        jax.random.key(seed), *shape, separation=separation, eccentricity=eccentricity,
        weights=weights,
    )  # fmt: skip
    return jax.vmap(simulate)(seeds)


quickly = jax.default_backend() == "cpu"
simulate_all = jit_with_options(_simulate_all, quickly=quickly, runs_once=quickly)


def real_data(names: tuple[str, ...] = ("iris", "penguins", "wine", "faithful", "digits")) -> dict:
    """Return x, with features in standard deviations, and K of each of these data sets."""
    components = {"iris": 3, "penguins": 3, "wine": 3, "faithful": 2, "digits": 10}
    sets = {}
    for name in names:
        x = getattr(load, name)()[0][:600]
        sets[name] = ((x - x.mean(axis=0)) / x.std(axis=0), components[name])
    return sets
