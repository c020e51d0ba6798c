# %% [markdown]
# # How many components, and of which family?
#
# Every K from many starts, in three families, with the likelihood of rows left out beside the
# information criteria.
#
#     .venv/bin/python examples/how_many_components.py
#
# Prints a table; draws `how_many_components.png` beside this file where matplotlib is installed.
# How far it has come is shown by a bar where tqdm is installed, else by lines.

# %%
import figure
import jax
import load
import numpy as np

import jaxgmm

jaxgmm.use_all_cores()  # a CPU device of each, before anything else in JAX

# %% [markdown]
# ## The search
#
# "full" gives each component a covariance of its own, "tied" one to all of them together, and
# "diagonal" leaves correlations out. With `folds=3` each third of the rows is left out once.

# %%
x, _, _ = load.penguins()
with jaxgmm.progress() as report:
    found = jaxgmm.sweep(
        jax.random.key(0), x.astype(np.float32), range(1, 7), restarts=12,
        families=("full", "tied", "diagonal"), folds=3, callback=report,
    )  # fmt: skip

# %% [markdown]
# ## What it found
#
# AIC, BIC and ICL are lower, and the held-out log-likelihood is higher, for a better mixture.

# %%
print("Penguins: K = 1 … 6, three families, 12 starts each, three folds.\n")
columns = ("family", "K", "log-likelihood", "BIC", "ICL", "held-out", "at best", "spurious")
print(jaxgmm.Table({name: row[name] for name in columns} for row in found.table()))
print()
for criterion in ("aic", "bic", "icl", "held-out"):
    best = found.best(criterion).mixture
    print(f"  by {criterion:9} {best.family}, K = {best.n_components}")

# %%
if figure.possible():
    ax = found.plot()
    ax.set_title("Penguins: three families")
    figure.keep(ax.figure, "how_many_components.png")
