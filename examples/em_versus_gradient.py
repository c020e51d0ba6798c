# %% [markdown]
# # EM against gradient ascent
#
# Which algorithm maximizes the likelihood of a Gaussian mixture in fewer passes over the rows: EM,
# accelerated EM, or a gradient method? According to the literature it is EM if the clusters are
# separated, and quasi-Newton methods if they overlap (Redner & Walker 1984; Xu & Jordan 1996;
# Salakhutdinov, Roweis & Ghahramani 2003; Hosseini & Sra 2020). This script repeats that experiment
# with one objective, the same k-means++ starts and one stopping rule, in float64.
#
#     .venv/bin/python examples/em_versus_gradient.py            # the whole, a few minutes
#     .venv/bin/python examples/em_versus_gradient.py --quick    # a small part

# %%
import os
import platform
import sys
import time

import figure
import jax
import load
import numpy as np
import optax

import jaxgmm

ALGORITHMS = {
    "EM": jaxgmm.EM(),
    "SQUAREM": jaxgmm.SQUAREM(),
    "L-BFGS": jaxgmm.Gradient(optax.lbfgs),
    "EM, L-BFGS": jaxgmm.Then(jaxgmm.EM(), jaxgmm.Gradient(optax.lbfgs)),
    "Adam": jaxgmm.Gradient(optax.adam, learning_rate=0.05),
}
JUDGED = ("EM", "SQUAREM", "L-BFGS")  # a start counts if these reach the same optimum
SEPARATIONS = (0.2, 0.5, 1.0, 2.0, 4.0)
SHAPES = ((2, 3), (8, 3), (8, 5))  # (d, K)
SEEDS = 20
STARTS = 10  # on real data
QUICK = "--quick" in sys.argv
SETTINGS = dict(tolerance=1e-11, max_steps=4000)


# %% [markdown]
# ## Simulated clusters of chosen separation
#
# A mixture is c-separated if the distance between any two means is at least c √(max tr Σ). For
# every c, d and K there are 20 data sets of 400 rows per component, with randomly rotated
# covariances whose axes have ratio 2 : 1, and one start each. A start counts if EM, SQUAREM and
# L-BFGS end at the same optimum. The cost is the number of passes until the objective is within
# 1e-6 nats per row of the optimum that the algorithm reaches.


# %%
def study(d: int, k: int, separation: float, seeds: int, algorithms: dict) -> dict:
    """Return one row of the table, with the median passes over the data sets."""
    costs, together, overlaps = [], [], []
    for seed in range(seeds):
        data_key, start_key = jax.random.split(jax.random.key(seed))
        made = jaxgmm.simulate(data_key, 400 * k, d, k, separation=separation, eccentricity=4.0)
        found = jaxgmm.compare(start_key, made.x, k, algorithms, restarts=1, **SETTINGS)
        costs.append([found.cost(name, to="own")[0] for name in algorithms])
        together.append(len(found.common_starts(*JUDGED)) == 1)
        overlaps.append(np.asarray(made.overlap)[np.triu_indices(k, 1)].max())
    row = {"d": d, "K": k, "c": separation, "overlap": float(np.median(overlaps))}
    return row | summary(list(algorithms), np.array(costs), np.array(together))


def summary(names: list[str], costs: np.ndarray, together: np.ndarray) -> dict:
    """Return the number of starts that count, and each algorithm's median number of passes.

    The median is NaN (shown as –) if most of the fits never came that close to the optimum.
    """
    row = {"starts": f"{together.sum()} of {len(together)}"}
    for name, passes in zip(names, costs[together].T, strict=True):
        median = np.median(passes) if len(passes) else np.inf
        row[name] = int(np.ceil(median)) if np.isfinite(median) else float("nan")
    return row


# %% [markdown]
# ## Real data
#
# There are ten starts for each data set. The true mixture is unknown, components may overlap, and
# many starts lead to different optima.


# %%
def study_real_data(
    name: str, x: np.ndarray, k: int, restarts: int, algorithms: dict
) -> tuple[dict, jaxgmm.Comparison]:
    """Return one row of the table, and the comparison."""
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    found = jaxgmm.compare(jax.random.key(0), x, k, algorithms, restarts=restarts, **SETTINGS)
    costs = np.array([found.cost(algorithm, to="own") for algorithm in algorithms]).T
    together = np.isin(np.arange(restarts), found.common_starts(*JUDGED))
    row = {"data": name, "n": len(x), "d": x.shape[1], "K": k}
    return row | summary(list(algorithms), costs, together), found


# %%
def draw(rows: list[dict]) -> None:
    """Draw passes against separation, with a panel for each (d, K)."""
    from matplotlib.figure import Figure

    from jaxgmm.plot.style import color

    shapes = sorted({(row["d"], row["K"]) for row in rows})
    whole = Figure(figsize=(1.5 + 3.4 * len(shapes), 3.8), layout="constrained")
    panels = whole.subplots(1, len(shapes), sharey=True, squeeze=False)[0]
    for panel, shape in zip(panels, shapes, strict=True):
        own = [row for row in rows if (row["d"], row["K"]) == shape]
        c = [row["c"] for row in own]
        for i, name in enumerate(ALGORITHMS):
            if name in own[0]:
                panel.plot(c, [row[name] for row in own], "o-", color=color(i), lw=2, label=name)
        panel.set(
            xscale="log", yscale="log", title=f"d = {shape[0]}, K = {shape[1]}",
            xlabel="separation c", xticks=c, xticklabels=[f"{value:g}" for value in c],
        )  # fmt: skip
        panel.minorticks_off()
        panel.set_yticks([5, 10, 20, 50, 100, 200, 500], labels=[5, 10, 20, 50, 100, 200, 500])
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("passes to 1e-6 nats per row")
    panels[-1].legend(frameon=False)
    figure.save(whole, "em_versus_gradient.png")


# %% [markdown]
# ## The experiment
#
# With `--quick` there are one shape, three algorithms and only the irises.

# %%
began = time.perf_counter()
jax.config.update("jax_enable_x64", True)
algorithms, shapes, separations = ALGORITHMS, SHAPES, SEPARATIONS
seeds, starts = SEEDS, STARTS
sets = {
    "iris": (load.iris()[0], 3), "penguins": (load.penguins()[0], 3),
    "wine": (load.wine()[0], 3), "digits": (load.digits()[0], 10),
}  # fmt: skip
if QUICK:
    algorithms = {name: ALGORITHMS[name] for name in JUDGED}
    shapes, separations, sets = ((2, 3),), (0.5, 4.0), {"iris": sets["iris"]}
    seeds, starts = 5, 5

print(f"JAX {jax.__version__}, {platform.machine()}, {os.cpu_count()} cores, float64.")
print("Median passes to 1e-6 nats per row of the optimum; overlap of the closest pair.")
rows = []
for d, k in shapes:
    own = jaxgmm.Table(study(d, k, c, seeds, algorithms) for c in separations)
    print(f"\n{own}", flush=True)
    rows += own

# %%
print(f"\nReal data, standardized, {starts} starts:\n")
results = {name: study_real_data(name, x, k, starts, algorithms) for name, (x, k) in sets.items()}
print(jaxgmm.Table(row for row, _ in results.values()))
print("\nFull comparison for the irises:\n")
print(results["iris"][1])
if figure.is_possible():
    draw(rows)
print(f"{time.perf_counter() - began:.0f} s in total, including compilation.")
