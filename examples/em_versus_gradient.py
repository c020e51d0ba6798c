# %% [markdown]
# # EM against gradient ascent
#
# Which algorithm maximizes the likelihood of a Gaussian mixture in fewer passes over the rows: EM,
# accelerated EM, or a gradient method? According to the literature it is EM if the clusters are
# separated, and quasi-Newton methods if they overlap (Redner & Walker 1984; Xu & Jordan 1996;
# Salakhutdinov, Roweis & Ghahramani 2003; Hosseini & Sra 2020). This script repeats that experiment
# with one objective, the same k-means++ starts and one stopping rule.
#
#     .venv/bin/python examples/em_versus_gradient.py            # the whole, an hour or more
#     .venv/bin/python examples/em_versus_gradient.py --quick    # a small part, in memory alone
#     .venv/bin/python examples/em_versus_gradient.py --report   # tables and figures of the CSV
#
# Every finished cell is appended to `benchmarks/results/em_versus_gradient.csv`. An interrupted run
# goes on where it stopped: a cell and an algorithm that are in the file are not run again.

# %%
import functools
import sys
import time

import em_versus_gradient_report as report
import jax
import jax.numpy as jnp
import load
import numpy as np

import jaxgmm

QUICK, ONLY_REPORT = "--quick" in sys.argv, "--report" in sys.argv
# Minibatch methods need many rows. Annealing and hard assignments maximize something else at first,
# so that they often end at another optimum.
LEFT_OUT = (
    "online em", "stochastic adam", "variance-reduced em", "annealed em", "classification em",
)  # fmt: skip
ALGORITHMS = {
    name: algorithm for name, algorithm in jaxgmm.ALGORITHMS.items() if name not in LEFT_OUT
}
if QUICK:
    ALGORITHMS = {name: ALGORITHMS[name] for name in ("em", "squarem", "lbfgs")}
SEPARATIONS = (0.2, 0.5, 1.0, 2.0, 4.0)
DATA_SETS = 6 if QUICK else 20  # for each cell
MOST_STEPS = 2000
TOLERANCE = {"float64": 1e-11, "float32": 1e-9}


# %% [markdown]
# ## The design
#
# All levels of all factors together would be thousands of cells. The design varies one or two
# factors at a time about d = 2, K = 3 and 20 rows for each parameter, and crosses each of these
# cells with all separations. Data sets of one shape (d, K, n, dtype) share a compiled program for
# each algorithm.


# %%
def cell(d: int, k: int, ratio: int = 20, *, e: int = 10, weights: str = "equal",
         tails: str = "normal", dtype: str = "float64") -> dict:  # fmt: skip
    """Return the factors of a cell: e is the eccentricity, ratio the rows for each parameter."""
    return dict(d=d, K=k, ratio=ratio, e=e, weights=weights, tails=tails, dtype=dtype)


DESIGN = [
    cell(2, 3), cell(2, 3, dtype="float32"), cell(2, 3, e=1), cell(2, 3, weights="skewed"),
    cell(2, 3, tails="heavy"), cell(2, 3, 5), cell(2, 3, 100), cell(2, 2), cell(2, 5),
    cell(1, 2), cell(2, 10, 5), cell(8, 3, 5), cell(8, 5, 5), cell(8, 3, 20), cell(20, 2, 5),
]  # fmt: skip
if QUICK:
    DESIGN, SEPARATIONS = [cell(2, 3)], (0.5, 4.0)


# %%
def draw_data_sets(factors: dict, separation: float) -> tuple[jax.Array, np.ndarray]:
    """Return the rows (data sets, n, d), and the overlap of the closest pair in each data set."""
    d, k = factors["d"], factors["K"]
    n = factors["ratio"] * (k * (1 + d + d * (d + 1) // 2) - 1)
    skewed = 2.0 ** -np.arange(k)
    weights = np.ones(k) / k if factors["weights"] == "equal" else skewed / skewed.sum()
    made = simulate_all(
        jnp.arange(DATA_SETS), separation, float(factors["e"]), weights, n=n, d=d, k=k
    )
    x = made.x
    if factors["tails"] == "heavy":  # rows of t components with five degrees of freedom
        means = jnp.take_along_axis(made.mixture.means, made.component[..., None], axis=1)
        scale = jnp.sqrt(jax.random.chisquare(jax.random.key(1), 5.0, (*x.shape[:2], 1)) / 5)
        x = means + (x - means) / scale
    overlap = np.asarray(made.overlap).max(axis=(1, 2))
    return x.astype(factors["dtype"]), overlap


@functools.partial(jax.jit, static_argnames=("n", "d", "k"))
def simulate_all(seeds, separation, eccentricity, weights, *, n, d, k):
    """Return simulations with a leading axis of seeds."""
    simulate = lambda seed, weights: jaxgmm.simulate(
        jax.random.key(seed), n, d, k, separation=separation, eccentricity=eccentricity,
        weights=weights,
    )  # fmt: skip
    return jax.vmap(simulate, in_axes=(0, None))(seeds, weights)


@functools.partial(jax.jit, static_argnames="k")
def make_starts(x: jax.Array, k: int) -> jaxgmm.Mixture:
    """Return a k-means++ start for each data set."""
    start = lambda seed, rows: jaxgmm.initialize(jax.random.key(seed), rows, k)
    return jax.vmap(start)(jnp.arange(1000, 1000 + len(x)), x)


def fit_all(algorithm, x: jax.Array, starts: jaxgmm.Mixture) -> jaxgmm.Fit:
    """Return the fits of all data sets, which run as one batch."""
    return jax.device_get(_fit_all(x, starts, algorithm))


def _fit_one(x, start, algorithm):
    tolerance = TOLERANCE[str(x.dtype)]
    return jaxgmm.fit(
        x, start, algorithm, tolerance=tolerance, max_steps=MOST_STEPS, kernel="whitened"
    )


_fit_all = jax.jit(jax.vmap(_fit_one, in_axes=(0, 0, None)), static_argnums=2)


# %% [markdown]
# ## What is recorded
#
# The cost of a fit is the number of passes until its objective is within 1e-6 nats per row of its
# own end (1e-5 in float32, whose rounding is 3e-7). EM's rate ρ is the square root of the ratio of
# its last gains.


# %%
def records(fits: jaxgmm.Fit, n: int, gap: float) -> list[dict]:
    """Return what the CSV keeps of each fit."""
    rows = []
    for i in range(len(fits.status)):
        steps = int(fits.steps[i])
        history = np.asarray(fits.history[i][: steps + 1], np.float64)
        reached = np.flatnonzero(history >= history[-1] - gap * n)
        gains = np.diff(history)
        large = gains > 1e-8 * n
        tail = np.flatnonzero(large[1:] & large[:-1])[-3:]
        ratio = gains[tail + 1] / gains[tail]
        rows.append(
            {
                "data_set": i,
                "status": jaxgmm.Status(int(fits.status[i])).name,
                "passes": float(fits.passes[i]),
                "to_own": float(fits.history_passes[i][reached[0]]) if len(reached) else np.nan,
                "height": float(fits.objective[i]) / n,
                "rate": float(np.sqrt(np.median(ratio))) if len(ratio) else 0.0,
            }
        )
    return rows


def run_cell(store: report.Store, labels: dict, x: jax.Array, k: int, overlap: np.ndarray) -> None:
    """Run the algorithms that the store does not have for this cell, and append their records."""
    missing = [name for name in ALGORITHMS if not store.has(labels, name)]
    if not missing:
        return
    starts = make_starts(x, k)
    gap = 1e-6 if x.dtype == np.float64 else 1e-5
    for name in missing:
        began = time.perf_counter()
        fits = fit_all(ALGORITHMS[name], x, starts)
        kept = records(fits, x.shape[1], gap)
        for row in kept:
            row["overlap"] = float(overlap[row["data_set"]])
        store.append(labels, name, kept, time.perf_counter() - began)


# %% [markdown]
# ## Real data, and a published table
#
# Real data have ten starts, and features in standard deviations. The cells "hosseini-sra" have the
# factors of Hosseini & Sra (2020), table 1: d = 20, c ∈ {0.2, 1, 5}, e ∈ {1, 10}, K ∈ {2, 5}. Their
# n = 100 d² and 20 runs are not affordable here: there are n = 5 d² rows and 4 runs.


# %%
def real_data() -> dict:
    """Return x and K of each data set."""
    sets = {"iris": (load.iris()[0], 3)}
    if not QUICK:
        sets |= {
            "penguins": (load.penguins()[0], 3), "wine": (load.wine()[0], 3),
            "faithful": (load.faithful()[0], 2), "digits": (load.digits()[0][:600], 10),
        }  # fmt: skip
    return sets


def run_real_data(store: report.Store) -> None:
    for name, (x, k) in real_data().items():
        x = (x - x.mean(axis=0)) / x.std(axis=0)
        labels = cell(x.shape[1], k) | {"study": name, "ratio": 0, "e": 0, "c": np.nan, "n": len(x)}
        copies = jnp.broadcast_to(jnp.asarray(x)[None], (10, *x.shape))
        run_cell(store, labels, copies, k, np.full(10, np.nan))


def run_published(store: report.Store) -> None:
    for k in (2, 5):
        for e in (1, 10):
            for c in (0.2, 1.0, 5.0):
                labels = cell(20, k, e=e) | {"study": "hosseini-sra", "ratio": 0, "c": c, "n": 2000}
                made = simulate_all(jnp.arange(4), c, float(e), None, n=2000, d=20, k=k)
                overlap = np.asarray(made.overlap).max(axis=(1, 2))
                run_cell(store, labels, made.x, k, overlap)


# %% [markdown]
# ## The experiment

# %%
began = time.perf_counter()
jax.config.update("jax_enable_x64", True)
# There is more to compile than to compute. How a program is optimized does not change its passes.
jax.config.update("jax_disable_most_optimizations", True)
store = report.Store(None if QUICK else report.RESULTS)
if not ONLY_REPORT:
    for factors in DESIGN:
        for c in SEPARATIONS:
            labels = factors | {"study": "simulated", "c": c, "n": 0}
            if all(store.has(labels, name) for name in ALGORITHMS):
                continue
            x, overlap = draw_data_sets(factors, c)
            run_cell(store, labels, x, factors["K"], overlap)
        print(f"{time.perf_counter() - began:6.0f} s  {factors}", flush=True)
    run_real_data(store)
    if not QUICK:
        run_published(store)
report.show(store.rows)
if not QUICK:
    report.draw(store.rows)
print(f"{time.perf_counter() - began:.0f} s in total, including compilation.")
