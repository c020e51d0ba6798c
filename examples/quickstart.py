# %% [markdown]
# # Quickstart: Gaussian mixtures for two classical data sets
#
# How many kinds of penguins are there, what are they like, and how is that found out? The number of
# components is chosen, the mixture is read and drawn, and its likelihood is climbed from one start
# by EM and by two optax optimizers; then the same choice for the irises.
#
#     .venv/bin/python examples/quickstart.py
#
# Prints some tables; draws `quickstart.png` beside this file where matplotlib is installed. In an
# editor that knows `# %%` cells, or by jupytext, it opens as a notebook.

# %%
import time

import figure
import jax
import load
import numpy as np
import optax

import jaxgmm

jaxgmm.use_all_cores()  # a CPU device of each, before anything else in JAX
RESTARTS = 32


def indented(text) -> str:
    return "\n".join(f"  {line}".rstrip() for line in str(text).splitlines())


# %% [markdown]
# ## 1. How many components?
#
# `sweep` fits every K from many starts; the lowest BIC wins. Rows of weight 0 count for nothing:
# they pad the shorter data set, so that both have one shape and share their compiled programs.


# %%
def choose(name: str, x: np.ndarray) -> jaxgmm.Sweep:
    print(f"{name}: {len(x)} rows, {RESTARTS} starts for each K\n")
    padded = np.pad(x, ((0, 342 - len(x)), (0, 0)))
    weight = (np.arange(342) < len(x)).astype(np.float32)
    found = jaxgmm.sweep(jax.random.key(0), padded, range(1, 7), restarts=RESTARTS, weight=weight)
    columns = ("K", "log-likelihood", "AIC", "BIC", "ICL", "at best", "passes")
    print(indented(jaxgmm.Table({name: row[name] for name in columns} for row in found.table())))
    print(f"\n  lowest BIC: K = {found.best().mixture.n_components}")
    return found


print("1. How many kinds of penguins? Four measurements, no labels.\n")
x, species, features = load.penguins()
found = choose("Penguins", x)

# %% [markdown]
# ## 2. What the chosen mixture says
#
# A component's means stand beside its standard deviations. The species were not shown to the fit.

# %%
print("\n2. What the chosen mixture says, beside the species it was not shown.\n")
chosen = found.best()
print(indented(chosen.summary(x, features=features)))
likeliest = np.argmax(jaxgmm.responsibilities(chosen.mixture, x), axis=1)
counts = jaxgmm.Table()
for index, name in enumerate(load.PENGUIN_SPECIES):
    sizes = np.bincount(likeliest[species == index], minlength=chosen.mixture.n_components)
    counts.append({"": name} | {f"component {k + 1}": size for k, size in enumerate(sizes)})
print(f"\n{indented(counts)}")

# %% [markdown]
# ## 3. How it is found
#
# One objective, one start, one stopping rule, three algorithms; in float64, to see the end of the
# climb. A *pass* is one sweep over all rows, which is what costs.

# %%
print("\n3. The same likelihood, climbed from one start by EM and by two optax optimizers")
print("   (seconds after compilation).\n")
algorithms = {
    "EM": jaxgmm.EM(),
    "optax.lbfgs": jaxgmm.Gradient(optax.lbfgs),
    "optax.adam(0.05)": jaxgmm.Gradient(optax.adam, learning_rate=0.05),
}
fits = {}
told = jaxgmm.Table()
with jax.enable_x64(True):
    start = jaxgmm.initialize(jax.random.key(0), x, 3)
    for name, algorithm in algorithms.items():
        jax.block_until_ready(jaxgmm.fit(x, start, algorithm))  # compiles
        began = time.perf_counter()
        fit = fits[name] = jax.block_until_ready(jaxgmm.fit(x, start, algorithm))
        told.append(
            {
                "algorithm": name,
                "objective": f"{float(fit.objective):.4f}",
                "steps": int(fit.steps),
                "passes": int(fit.passes),
                "seconds": f"{time.perf_counter() - began:.3f}",
                "status": jaxgmm.Status(int(fit.status)).name,
            }
        )
print(indented(told))

# %% [markdown]
# ## 4. The irises, by the programs that are compiled already

# %%
print("\n4. The irises.\n")
choose("Irises", load.iris()[0])

# %% [markdown]
# ## The picture: data and components, the climb, the choice of K

# %%
if figure.possible():
    from matplotlib.figure import Figure

    from jaxgmm import plot

    panels = Figure(figsize=(12, 3.7), layout="constrained")
    data, climb, choice = panels.subplots(1, 3)
    shown = (0, 2)  # bill length and flipper length
    plot.responsibilities(chosen.mixture, x, data, features=shown)
    plot.ellipses(chosen.mixture, data, features=shown)
    data.set(xlabel=features[0], ylabel=features[2], title="Penguins: ellipses hold 90 %")
    plot.traces(fits, climb).set(title="One objective, one start")
    plot.bic_curve(found, choice).set(title="Choice of K")
    figure.keep(panels, "quickstart.png")
