# %% [markdown]
# # EM against gradient ascent
#
# Which climbs the likelihood of a Gaussian mixture in fewer passes over the rows: EM, EM
# accelerated, or a gradient method? The literature says: EM where clusters lie apart, quasi-Newton
# methods where they overlap (Redner & Walker 1984; Xu & Jordan 1996; Salakhutdinov, Roweis &
# Ghahramani 2003; Hosseini & Sra 2020). Here is that experiment: one objective, the same k-means++
# starts, one stopping rule, float64.
#
#     .venv/bin/python examples/em_versus_gradient.py            # all of it, a few minutes
#     .venv/bin/python examples/em_versus_gradient.py --quick    # a corner of it

# %%
import argparse
import os
import platform
import time
from pathlib import Path

import jax
import load
import numpy as np
import optax

import jaxgmm

HERE = Path(__file__).resolve().parent
ALGORITHMS = {
    "EM": jaxgmm.EM(),
    "SQUAREM": jaxgmm.SQUAREM(),
    "L-BFGS": jaxgmm.Gradient(optax.lbfgs),
    "EM, L-BFGS": jaxgmm.Then(jaxgmm.EM(), jaxgmm.Gradient(optax.lbfgs)),
    "Adam": jaxgmm.Gradient(optax.adam, learning_rate=0.05),
}
JUDGED = ("EM", "SQUAREM", "L-BFGS")  # who must end together for a start to count
SEPARATIONS = (0.2, 0.5, 1.0, 2.0, 4.0)
SHAPES = ((2, 3), (8, 3), (8, 5))  # (d, K)
SEEDS = 20
SETTINGS = dict(tolerance=1e-11, max_steps=4000)


# %% [markdown]
# ## Clusters with a dial
#
# A mixture is c-separated if no two means are nearer than c √(max tr Σ). For every c, d and K there
# are 20 data sets of 400 rows per component, covariances turned at random, their axes 2 : 1, and
# one start each. A start counts if EM, SQUAREM and L-BFGS end at the same optimum. What is counted
# is passes until the objective is within 1e-6 nats per row of that optimum.


# %%
def study(d: int, k: int, separation: float, seeds: int) -> dict:
    """One row of the table: median passes over data sets."""
    costs, together, overlaps = [], [], []
    for seed in range(seeds):
        data_key, start_key = jax.random.split(jax.random.key(seed))
        made = jaxgmm.simulate(data_key, 400 * k, d, k, separation=separation, eccentricity=4.0)
        found = jaxgmm.compare(start_key, made.x, k, ALGORITHMS, restarts=1, **SETTINGS)
        costs.append([found.cost(name)[0] for name in ALGORITHMS])
        together.append(len(found.common_starts(*JUDGED)) == 1)
        overlaps.append(np.asarray(made.overlap)[np.triu_indices(k, 1)].max())
    return {"d": d, "K": k, "c": separation, "overlap": float(np.median(overlaps))} | summary(
        np.array(costs), np.array(together)
    )


def summary(costs: np.ndarray, together: np.ndarray) -> dict:
    """How many starts count, and each algorithm's median over them ("–": most never came there)."""
    medians = (
        np.median(costs[together], axis=0) if together.any() else np.full(len(costs[0]), np.nan)
    )
    row = {"starts": f"{together.sum()} of {len(together)}"}
    for name, passes in zip(ALGORITHMS, medians, strict=True):
        row[name] = int(np.ceil(passes)) if np.isfinite(passes) else float("nan")
    return row


# %% [markdown]
# ## Real data
#
# Twenty starts each. Here the truth is unknown, components overlap where they must, and many starts
# end at optima of their own.


# %%
def real(name: str, x: np.ndarray, k: int, restarts: int) -> tuple[dict, jaxgmm.Comparison]:
    """One row of the table, and the comparison."""
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    found = jaxgmm.compare(jax.random.key(0), x, k, ALGORITHMS, restarts=restarts, **SETTINGS)
    costs = np.array([found.cost(algorithm) for algorithm in ALGORITHMS]).T
    together = np.isin(np.arange(restarts), found.common_starts(*JUDGED))
    return {"data": name, "n": len(x), "d": x.shape[1], "K": k} | summary(costs, together), found


# %%
def draw(rows: list[dict], path: Path) -> None:
    """Passes against separation, a panel for each (d, K)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from jaxgmm.plot import PALETTE

    shapes = sorted({(row["d"], row["K"]) for row in rows})
    figure, panels = plt.subplots(
        1, len(shapes), figsize=(1 + 3.6 * len(shapes), 3.8), sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for panel, shape in zip(panels[0], shapes, strict=True):
        own = [row for row in rows if (row["d"], row["K"]) == shape]
        for name, colour in zip(ALGORITHMS, PALETTE, strict=False):
            panel.plot(
                [row["c"] for row in own], [row[name] for row in own], "o-", color=colour, lw=2,
                label=name,
            )  # fmt: skip
        panel.set(
            xscale="log", yscale="log", title=f"d = {shape[0]}, K = {shape[1]}",
            xlabel="separation c", xticks=SEPARATIONS,
        )  # fmt: skip
        panel.set_xticklabels([f"{c:g}" for c in SEPARATIONS])
        panel.minorticks_off()
        panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("passes to 1e-6 nats per row")
    panels[0][-1].legend(frameon=False)
    figure.savefig(path, dpi=150)


# %%
def main() -> None:
    parser = argparse.ArgumentParser(description="EM against gradient ascent, in passes.")
    parser.add_argument("--quick", action="store_true", help="one shape, two separations, iris")
    quick = parser.parse_args().quick
    began = time.perf_counter()
    jax.config.update("jax_enable_x64", True)
    shapes, separations, seeds = SHAPES, SEPARATIONS, SEEDS
    if quick:
        shapes, separations, seeds = ((2, 3),), (0.5, 4.0), 5

    print(f"JAX {jax.__version__} on {platform.machine()}, {os.cpu_count()} cores; float64\n")
    print(
        "Median passes to 1e-6 nats per row of the optimum; overlap is the largest of any pair.\n"
    )
    rows = jaxgmm.Table(
        study(d, k, c, seeds) for d, k in shapes for c in separations
    )  # fmt: skip
    print(rows)

    sets = {
        "iris": (load.iris()[0], 3), "penguins": (load.penguins()[0], 3),
        "wine": (load.wine()[0], 3), "digits": (load.digits()[0], 10),
    }  # fmt: skip
    if quick:
        sets = {"iris": sets["iris"]}
    print("\nReal data, each feature in standard deviations, 20 starts:\n")
    results = {name: real(name, x, k, seeds) for name, (x, k) in sets.items()}
    print(jaxgmm.Table(row for row, _ in results.values()))
    print("\nThe irises in full:\n")
    print(results["iris"][1])

    try:
        draw(rows, HERE / "em_versus_gradient.png")
        print("\ndrawn: examples/em_versus_gradient.png")
    except ImportError:
        print("\n(no figure: matplotlib is not installed)")
    print(f"{time.perf_counter() - began:.0f} s in all, compiling included.")


if __name__ == "__main__":
    main()
