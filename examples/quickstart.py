"""Mixtures of Gaussians for two classical data sets: how many components, which, and how found.

Chooses the number of components of the penguins, reads the mixture, climbs its likelihood from one
start by EM and by two optax optimisers, and chooses again for the irises.

    .venv/bin/python examples/quickstart.py

Prints a table for each; writes `quickstart.png` beside this file where matplotlib is installed.
"""

# %%
import importlib.util
import time
from pathlib import Path

import jax
import load
import numpy as np
import optax

import jaxgmm
from jaxgmm import EM, Gradient, Status

FIGURE = Path(__file__).resolve().with_name("quickstart.png")
RESTARTS = 32
COMPONENTS = (1, 2, 3, 4, 5, 6)
# Okabe & Ito's colours, which most colour-blind readers can tell apart.
PALETTE = np.array([[0, 114, 178], [213, 94, 0], [0, 158, 115], [204, 121, 167]]) / 255


# %% Rows beyond n have weight 0, so that both data sets have one shape and share their programs.
def padded(x: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """x with rows of zeros up to n, and weights that leave them out."""
    return np.pad(x, ((0, n - len(x)), (0, 0))), (np.arange(n) < len(x)).astype(np.float32)


def summarise(x, features: list[str], species: np.ndarray, mixture: jaxgmm.Mixture) -> None:
    k = mixture.n_components

    def line(name, cells):
        print(f"  {name:20}" + "".join(f"{cell:>16}" for cell in cells))

    line("", [f"component {j + 1}" for j in range(k)])
    line("weight", [f"{weight:.3f}" for weight in np.asarray(mixture.weights)])
    widths = np.sqrt(np.diagonal(mixture.covariances, axis1=1, axis2=2))
    for name, means, width in zip(features, np.asarray(mixture.means).T, widths.T, strict=True):
        line(name, [f"{m:.1f} ± {s:.1f}" for m, s in zip(means, width, strict=True)])
    likeliest = np.argmax(jaxgmm.responsibilities(mixture, x), axis=1)
    for index, name in enumerate(load.PENGUIN_SPECIES):
        line(f"{name} penguins", np.bincount(likeliest[species == index], minlength=k))


# %% One objective, one start, one stopping rule, three algorithms; in float64, to see the end of
# the climb.
def compare(x: np.ndarray) -> dict[str, jaxgmm.Fit]:
    start = jaxgmm.initialize(jax.random.key(0), x, 3)
    algorithms = {
        "EM": EM(),
        "optax.lbfgs": Gradient(optax.lbfgs()),
        "optax.adam(0.05)": Gradient(optax.adam, learning_rate=0.05),
    }
    fits = {}
    print(f"  {'':18}{'objective':>12}{'steps':>7}{'passes':>8}{'seconds':>9}   status")
    for name, algorithm in algorithms.items():
        jax.block_until_ready(jaxgmm.fit(x, start, algorithm))  # compiles
        began = time.perf_counter()
        fit = fits[name] = jax.block_until_ready(jaxgmm.fit(x, start, algorithm))
        seconds = time.perf_counter() - began
        print(
            f"  {name:18}{float(fit.objective):12.4f}{int(fit.steps):7d}{int(fit.passes):8d}"
            f"{seconds:9.3f}   {Status(int(fit.status)).name}"
        )
    return fits


# %% How many components? Every K from many starts; lower BIC is better.
def choose(name: str, x: np.ndarray) -> jaxgmm.Sweep:
    print(f"\n{name}: {len(x)} rows, {RESTARTS} starts for each K\n")
    rows, weight = padded(x, 342)
    found = jaxgmm.sweep(jax.random.key(0), rows, COMPONENTS, restarts=RESTARTS, weight=weight)
    columns = ("K", "log-likelihood", "AIC", "BIC", "ICL", "at best", "passes")
    table = jaxgmm.Table({name: row[name] for name in columns} for row in found.table())
    print("\n".join(f"  {line}" for line in str(table).splitlines()))
    print(f"\n  lowest BIC: K = {found.best().mixture.n_components}")
    return found


# %% The picture: data and components, the climb, the choice of K.
def draw(x, features, found, fits) -> None:
    from matplotlib.figure import Figure
    from matplotlib.patches import Ellipse

    mixture = found.best().mixture
    figure = Figure(figsize=(14, 4.2), layout="constrained")
    data, climb, choice = figure.subplots(1, 3)

    shown = [0, 2]  # bill length and flipper length
    resp = np.asarray(jaxgmm.responsibilities(mixture, x))
    data.scatter(*x[:, shown].T, s=14, c=np.clip(resp @ PALETTE[: resp.shape[1]], 0, 1))
    level = -2 * np.log(1 - 0.9)  # chi-squared with two degrees of freedom: 90 % of a component
    for mean, covariance, colour in zip(
        np.asarray(mixture.means)[:, shown],
        np.asarray(mixture.covariances)[:, shown][:, :, shown],
        PALETTE, strict=False,
    ):  # fmt: skip
        values, vectors = np.linalg.eigh(covariance)
        width, height = 2 * np.sqrt(level * values)
        angle = np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0]))
        data.add_patch(Ellipse(mean, width, height, angle=angle, fill=False, color=colour, lw=2))
    data.set(xlabel=features[0], ylabel=features[2], title="Penguins: 90 % of each component")

    top = max(float(fit.objective) for fit in fits.values())
    for (name, fit), colour in zip(fits.items(), PALETTE, strict=False):
        gap = np.maximum((top - np.asarray(fit.history)) / len(x), 1e-10)
        climb.semilogy(fit.history_passes, gap, label=name, color=colour, lw=2)
    climb.set(xlabel="passes over the data", ylabel="gap to the best (nats per row)",
              title="One objective, one start")  # fmt: skip
    climb.legend(frameon=False)

    found.plot(choice).set(title="Choice of K")
    for axes in (data, climb, choice):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(FIGURE, dpi=120)
    print(f"\nFigure: {FIGURE.parent.name}/{FIGURE.name}")


# %%
def main() -> None:
    x, species, features = load.penguins()
    flowers, _, _ = load.iris()
    print("1. How many kinds of penguins? Four measurements, no labels.")
    found = choose("Penguins", x)
    print("\n2. What the chosen mixture says, beside the species it was not shown.\n")
    summarise(x, features, species, found.best().mixture)
    print("\n3. The same likelihood, climbed from one start by EM and by two optax optimisers")
    print("   (seconds after compilation).\n")
    with jax.enable_x64(True):
        fits = compare(x)
    print("\n4. The irises.")
    choose("Irises", flowers)
    if importlib.util.find_spec("matplotlib"):
        draw(x, features, found, fits)
    else:
        print("\nNo figure: matplotlib is not installed.")


if __name__ == "__main__":
    main()
