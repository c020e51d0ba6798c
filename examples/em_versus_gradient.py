# %% [markdown]
# # EM against gradient ascent
#
# Which algorithm maximizes the likelihood of a Gaussian mixture in fewer passes over the rows: EM,
# accelerated EM, or a gradient method? According to the literature it is EM if the clusters are
# separated, and quasi-Newton methods if they overlap (Redner & Walker 1984; Xu & Jordan 1996;
# Salakhutdinov, Roweis & Ghahramani 2003; Hosseini & Sra 2020). This script repeats that experiment
# with one objective, the same k-means++ starts and one stopping rule.
#
#     .venv/bin/python examples/em_versus_gradient.py            # the whole, in two processes
#     .venv/bin/python examples/em_versus_gradient.py --quick    # a small part, in memory alone
#     .venv/bin/python examples/em_versus_gradient.py --report   # tables and figures of the CSV
#
# Every finished cell is appended to `benchmarks/results/em_versus_gradient.csv`. An interrupted run
# goes on where it stopped: a cell and an algorithm that are in the file are not run again. One
# process runs all cells whose data sets have one shape, which share their compiled programs.

# %%
import concurrent.futures
import functools
import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import em_versus_gradient_figure
import em_versus_gradient_report as report
import jax
import jax.numpy as jnp
import numpy as np
from em_versus_gradient_data import cell, draw_data_sets, real_data
from em_versus_gradient_peer import scikit_learn_records

import jaxgmm
from jaxgmm.internal.compiling import jit_with_options

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
HYBRID = {"em then conjugate em": jaxgmm.Then(jaxgmm.EM(), jaxgmm.ConjugateEM())}
SEPARATIONS = (0.2, 0.5, 1.0, 2.0, 4.0)
DATA_SETS = 6 if QUICK else 20  # for each cell
MANY_STEPS = ("em", "squarem", "over-relaxed em", "nesterov em", "adam", "incremental em")
LITTLE_WORK = 5e5  # multiplications in one pass over one data set
MOST_STEPS = 2000
MOST_INCREMENTAL_STEPS = 16_000  # each visits a sixteenth of the rows
TOLERANCE = {"float64": 1e-11, "float32": 1e-9}


# %% [markdown]
# ## The design
#
# All levels of all factors together would be thousands of cells. The design varies one or two
# factors at a time about d = 2, K = 3 and 20 rows for each parameter, and crosses each of these
# cells with all separations. Data sets of one shape (d, K, n, dtype) share a compiled program for
# each algorithm. To compile takes as long as to compute.


# %%
DESIGN = [
    cell(2, 3), cell(2, 2), cell(2, 5), cell(8, 3, 5), cell(1, 2), cell(2, 10, 5), cell(20, 2, 5),
    cell(2, 3, e=1), cell(2, 3, weights="skewed"), cell(2, 3, tails="heavy"), cell(2, 3, 5),
    cell(2, 3, 100), cell(8, 5, 5), cell(2, 3, dtype="float32"), cell(8, 3, 20),
]  # fmt: skip
REAL_DATA = ("digits", "faithful", "wine", "penguins", "iris")
if QUICK:
    DESIGN, SEPARATIONS, REAL_DATA = [cell(2, 3)], (0.5, 4.0), ("iris",)


# %%
def _make_starts(k, x):
    start = lambda seed, rows: jaxgmm.initialize(jax.random.key(seed), rows, k)
    return jax.vmap(start)(jnp.arange(1000, 1000 + len(x)), x)


def _fit_all(options, x, starts):
    algorithm, prior = options
    incremental = isinstance(algorithm, jaxgmm.Incremental)
    fit_one = lambda rows, start: jaxgmm.fit(
        rows, start, algorithm, tolerance=TOLERANCE[str(x.dtype)], kernel="whitened", prior=prior,
        max_steps=MOST_INCREMENTAL_STEPS if incremental else MOST_STEPS,
    )  # fmt: skip
    # In a batch by vmap, all fits would wait for the slowest, and for the longest line search.
    return jax.lax.map(lambda pair: fit_one(*pair), (x, starts))


# A program that runs little is not optimized, which changes its passes only by rounding.
quickly = jax.default_backend() == "cpu"
make_starts = jit_with_options(_make_starts, quickly=quickly, runs_once=quickly)
fit_all_once = jit_with_options(_fit_all, quickly=quickly, runs_once=quickly)
fit_all_often = jit_with_options(_fit_all, quickly=quickly)


def fit_all(name: str, prior: str | None, x: jax.Array, starts: jaxgmm.Mixture) -> jaxgmm.Fit:
    """Return the fits of all data sets, by one program."""
    work = x.shape[1] * starts.n_components * x.shape[2] ** 2
    often = work > LITTLE_WORK or name in MANY_STEPS
    program = fit_all_often if often and not QUICK else fit_all_once
    algorithm = (ALGORITHMS | HYBRID)[name]
    return jax.device_get(program((algorithm, prior), x, starts))


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
        history = np.asarray(fits.history[i][: int(fits.steps[i]) + 1], np.float64) / n
        status = jaxgmm.Status(int(fits.status[i]))
        rows.append(
            {
                "data_set": i,
                "failure": "" if status == jaxgmm.Status.CONVERGED else status.name,
                "passes": float(fits.passes[i]),
                "to_own": float(fits.history_passes[i][report.first_near_end(history, gap)]),
                "height": float(fits.objective[i]) / n,
                "rate": rate(np.diff(history)),
            }
        )
    return rows


def rate(gains: np.ndarray) -> float:
    """Return the root of the median of the last three ratios of gains (nats per row), or 0."""
    large = gains > 1e-8
    tail = np.flatnonzero(large[1:] & large[:-1])[-3:]
    return float(np.sqrt(np.median(gains[tail + 1] / gains[tail]))) if len(tail) else 0.0


def run_cell(
    store: report.Store, labels: dict, draw: Callable, *, names: Sequence[str] = tuple(ALGORITHMS),
    prior: str | None = "default",
) -> None:  # fmt: skip
    """Run the algorithms that the store does not have for this cell, and append their records.

    draw() returns the rows of all data sets (data sets, n, d), and their overlap.
    """
    missing = [name for name in names if not store.has(labels, name)]
    if not missing:
        return
    x, overlap = draw()
    starts = make_starts(labels["K"], x)
    gap = 1e-6 if x.dtype == np.float64 else 1e-5
    for name in missing:
        kept = records(fit_all(name, prior, x, starts), x.shape[1], gap)
        for row in kept:
            row["overlap"] = float(overlap[row["data_set"]])
            row["rate"] = row["rate"] if name == "em" else np.nan
        store.append(labels, name, kept)


def run_simulated(store: report.Store, design: Sequence[dict]) -> None:
    for factors in design:
        for c in SEPARATIONS:
            labels = factors | {"c": c}
            run_cell(store, labels, lambda labels=labels: draw_data_sets(labels, DATA_SETS))


# %% [markdown]
# ## Real data, and published comparisons
#
# Real data have ten starts, and features in standard deviations. There is no prior, so that
# scikit-learn, where it is installed, maximizes the same objective from the same starts; it counts
# one pass for each iteration. The cells "hosseini-sra" have the factors of Hosseini & Sra (2020),
# table 1: d = 20, c ∈ {0.2, 1, 5}, e ∈ {1, 10}, K ∈ {2, 5}. Their n = 100 d² and 20 runs are not
# affordable here: there are n = 25 d² rows and 4 runs. The cells "salakhutdinov" compare the
# methods of Salakhutdinov, Roweis & Ghahramani (2003), EM, conjugate gradients and a hybrid of
# both, on five clusters in two dimensions, from overlapping to well separated.


# %%
IS_INSTALLED = importlib.util.find_spec("sklearn") is not None


def run_real_data(store: report.Store, names: Sequence[str]) -> None:
    for name, (x, k) in real_data(names).items():
        n, d = x.shape
        labels = cell(d, k) | {"study": name, "n": n, "e": 0, "c": 0.0}
        copies = jnp.broadcast_to(jnp.asarray(x)[None], (10, n, d))
        draw = lambda copies=copies: (copies, np.full(10, np.nan))
        shown = [name for name in report.SHOWN if name in ALGORITHMS]
        run_cell(store, labels, draw, names=shown, prior=None)
        if IS_INSTALLED and not store.has(labels, "scikit-learn"):
            kept = scikit_learn_records(x, make_starts(k, copies), TOLERANCE["float64"], MOST_STEPS)
            store.append(labels, "scikit-learn", kept)


def run_hosseini_sra(store: report.Store, k: int) -> None:
    for e in (1, 10):
        for c in (0.2, 1.0, 5.0):
            labels = cell(20, k, e=e) | {"study": "hosseini-sra", "n": 10_000, "c": c}
            draw = lambda labels=labels: draw_data_sets(labels, 4)
            run_cell(store, labels, draw, names=report.HOSSEINI_SRA)


def run_salakhutdinov(store: report.Store) -> None:
    for c in SEPARATIONS:
        labels = cell(2, 5) | {"study": "salakhutdinov", "c": c}
        draw = lambda labels=labels: draw_data_sets(labels, DATA_SETS)
        run_cell(store, labels, draw, names=report.SALAKHUTDINOV)


# %% [markdown]
# ## The experiment


# %%
def parts_of_the_study() -> list[Callable[[report.Store], None]]:
    """Return functions that run a part each. Cells of one shape are one part."""
    by_shape: dict[tuple, list[dict]] = {}
    for factors in DESIGN:
        by_shape.setdefault(tuple(factors[f] for f in ("d", "K", "n", "dtype")), []).append(factors)
    simulated = [functools.partial(run_simulated, design=cells) for cells in by_shape.values()]
    real = [functools.partial(run_real_data, names=[name]) for name in REAL_DATA]
    published = [functools.partial(run_hosseini_sra, k=k) for k in (5, 2)]
    return real + simulated if QUICK else [*published, run_salakhutdinov, *real, *simulated]


def run_in_processes() -> None:
    """Run every part in a process of its own, two at a time."""

    def run(part: int) -> None:
        subprocess.run([sys.executable, report.SCRIPT, "--part", str(part)], check=True)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(run, range(len(parts_of_the_study()))))


def finish(rows: list[dict]) -> None:
    """Print the tables, and draw the figure."""
    for caption, table in report.tables(rows).items():
        print(f"\n{caption}\n\n{table}")
    if not QUICK:
        em_versus_gradient_figure.draw(rows)


began = time.process_time()
jax.config.update("jax_enable_x64", True)
store = report.Store(None if QUICK else report.RESULTS)
if "--part" in sys.argv:
    part = int(sys.argv[sys.argv.index("--part") + 1])
    parts_of_the_study()[part](store)
    print(f"{time.process_time() - began:6.0f} s of CPU for part {part}", flush=True)
elif QUICK:
    for run_part in parts_of_the_study():
        run_part(store)
    finish(store.rows)
else:
    if not ONLY_REPORT:
        run_in_processes()
    finish(report.Store(report.RESULTS).rows)
