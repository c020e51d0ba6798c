# %% [markdown]
# # Quickstart: Gaussian mixtures for two classical data sets
#
# How many kinds of penguins are there, and what are they like? This script chooses the number of
# components, summarizes and plots the mixture, and maximizes its likelihood from one start by EM
# and by two optax optimizers. Then it makes the same choice for the irises.
#
#     .venv/bin/python examples/quickstart.py
#
# The script prints tables. If matplotlib is installed, it also draws `quickstart.png` next to this
# file. It opens as a notebook with jupytext, or in an editor that supports `# %%` cells.

# %%
import time

import figure
import jax
import load
import numpy as np
import optax

import jaxgmm

jaxgmm.use_all_cores()  # one CPU device per core; must come before any other use of JAX
RESTARTS = 32


def indent(text: object) -> str:
    """Return a text with two spaces before each line."""
    return "\n".join(f"  {line}".rstrip() for line in str(text).splitlines())


# %% [markdown]
# ## 1. How many components?
#
# `sweep` fits every K from many starts, and the K with the lowest BIC is chosen. Rows of weight 0
# have no effect. They pad the shorter data set, so that both data sets have one shape and share
# their compiled programs.


# %%
def choose(name: str, x: np.ndarray) -> jaxgmm.Sweep:
    """Fit K = 1 … 6 to the rows, print the criteria, and return all fits."""
    print(f"{name}: {len(x)} rows, {RESTARTS} starts for each K\n")
    padded = np.pad(x, ((0, 342 - len(x)), (0, 0)))
    weight = (np.arange(342) < len(x)).astype(np.float32)
    found = jaxgmm.sweep(jax.random.key(0), padded, range(1, 7), restarts=RESTARTS, weight=weight)
    columns = ("K", "log-likelihood", "AIC", "BIC", "ICL", "at best", "passes")
    print(indent(jaxgmm.Table({name: row[name] for name in columns} for row in found.table())))
    print(f"\n  lowest BIC: K = {found.best().mixture.n_components}")
    return found


print("1. How many kinds of penguins? Four measurements, no labels.\n")
x, species, features = load.penguins()
found = choose("Penguins", x)

# %% [markdown]
# ## 2. The chosen mixture
#
# The summary shows the means of each component with its standard deviations. The fit did not use
# the species.

# %%
print("\n2. The chosen mixture, and the species, which the fit did not use.\n")
chosen = found.best()
print(indent(chosen.summary(x, features=features)))
likeliest = np.argmax(jaxgmm.responsibilities(chosen.mixture, x), axis=1)
counts = jaxgmm.Table()
for index, name in enumerate(load.PENGUIN_SPECIES):
    sizes = np.bincount(likeliest[species == index], minlength=chosen.mixture.n_components)
    counts.append({"": name} | {f"component {k + 1}": size for k, size in enumerate(sizes)})
print(f"\n{indent(counts)}")

# %% [markdown]
# ## 3. Three algorithms
#
# Three algorithms maximize one objective from one start with one stopping rule. They run in
# float64, which shows how each of them converges. A *pass* is one evaluation of all rows, which
# takes most of the time.

# %%
print("\n3. One likelihood, maximized from one start by EM and by two optax optimizers")
print("   (seconds after compilation).\n")
algorithms = {
    "EM": jaxgmm.EM(),
    "optax.lbfgs": jaxgmm.Gradient(optax.lbfgs),
    "optax.adam(0.05)": jaxgmm.Gradient(optax.adam, learning_rate=0.05),
}
fits = {}
results = jaxgmm.Table()
with jax.enable_x64(True):
    start = jaxgmm.initialize(jax.random.key(0), x, 3)
    for name, algorithm in algorithms.items():
        jax.block_until_ready(jaxgmm.fit(x, start, algorithm))  # compiles
        began = time.perf_counter()
        fit = fits[name] = jax.block_until_ready(jaxgmm.fit(x, start, algorithm))
        results.append(
            {
                "algorithm": name,
                "objective": f"{float(fit.objective):.4f}",
                "steps": int(fit.steps),
                "passes": int(fit.passes),
                "seconds": f"{time.perf_counter() - began:.3f}",
                "status": jaxgmm.Status(int(fit.status)).name,
            }
        )
print(indent(results))

# %% [markdown]
# ## 4. The irises, with the programs that are already compiled

# %%
print("\n4. The irises.\n")
choose("Irises", load.iris()[0])

# %% [markdown]
# ## The figure: data and components, the fits, and the choice of K

# %%
if figure.is_possible():
    from matplotlib.figure import Figure

    from jaxgmm import plot

    panels = Figure(figsize=(12, 3.7), layout="constrained")
    data, progress, choice = panels.subplots(1, 3)
    shown = (0, 2)  # bill length and flipper length
    plot.responsibilities(chosen.mixture, x, data, features=shown)
    plot.ellipses(chosen.mixture, data, features=shown)
    data.set(xlabel=features[0], ylabel=features[2], title="Penguins: ellipses contain 90 %")
    plot.traces(fits, progress).set(title="One objective, one start")
    plot.bic_curve(found, choice).set(title="Choice of K")
    figure.save(panels, "quickstart.png")
