# %% [markdown]
# # How many components, and of which family?
#
# This script fits every K from many starts in three families. It compares the fits by information
# criteria and by the log-likelihood of held-out rows.
#
#     .venv/bin/python examples/how_many_components.py
#
# The script prints a table. If matplotlib is installed, it also draws `how_many_components.png`
# next to this file. It shows its progress by a bar if tqdm is installed, and by lines otherwise.

# %%
import figure
import jax
import load
import numpy as np

import jaxgmm

jaxgmm.use_all_cores()  # one CPU device per core; must come before any other use of JAX

# %% [markdown]
# ## The search
#
# In the family "full" each component has its own covariance, in "tied" all components have the same
# covariance, and in "diagonal" there are no correlations. With `folds=3` each third of the rows is
# held out once.

# %%
x, _, _ = load.penguins()
with jaxgmm.progress() as report:
    found = jaxgmm.sweep(
        jax.random.key(0), x.astype(np.float32), range(1, 7), restarts=12,
        families=("full", "tied", "diagonal"), folds=3, callback=report,
    )  # fmt: skip

# %% [markdown]
# ## The results
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
if figure.is_possible():
    ax = found.plot()
    ax.set_title("Penguins: three families")
    figure.save(ax.figure, "how_many_components.png")
