# %% [markdown]
# # mclust in Python
#
# R's mclust fits fourteen families of covariances and chooses among them by BIC. This script does
# the same for three data sets, and compares every BIC with mclust's.
#
#     .venv/bin/python examples/mclust_in_python.py
#
# The script prints tables. If matplotlib is installed, it also draws `mclust_in_python.png` next to
# this file.

# %%
import figure
import jax
import load
import numpy as np

import jaxgmm

jaxgmm.use_all_cores()  # one CPU device per core; must come before any other use of JAX
KS = range(1, 10)

# %% [markdown]
# ## `Mclust(x, G = 1:9)`
#
# `families="all"` stands for the fourteen families. mclust computes maximum likelihood estimates,
# which is `prior=None`. It starts from a hierarchical clustering, and `sweep` from random starts.

# %%
DATA = {"iris": load.iris()[0], "faithful": load.faithful()[0], "penguins": load.penguins()[0]}


def mclust(x: np.ndarray) -> jaxgmm.Sweep:
    """Fit all families with 1 to 9 components."""
    return jaxgmm.sweep(
        jax.random.key(0), x.astype(np.float32), KS, families="all", prior=None, restarts=16
    )


found = {name: mclust(x) for name, x in DATA.items()}

# %% [markdown]
# ## The three best models
#
# BIC is that of the literature, and lower is better. mclust prints it with the opposite sign.


# %%
def criteria(result: jaxgmm.Sweep) -> np.ndarray:
    """Return BIC (9, 14), and NaN where the best fit has a spurious component."""

    def bic(family: str, k: int) -> float:
        at = result.n_components.index(k)
        sound = ~result.spurious[family][at] & (result.fits[family].passes[at] > 0)
        return result.scores(family, k)["BIC"] if sound.any() else np.nan

    return np.array([[bic(family, k) for family in result.fits] for k in KS])


def three_best(bic: np.ndarray, models: tuple[str, ...]) -> list[str]:
    """Return the three lowest values as text."""
    order = np.argsort(bic, axis=None)[:3]
    places = [np.unravel_index(place, bic.shape) for place in order]
    return [f"{models[j]},{i + 1} {bic[i, j]:.1f}" for i, j in places]


rows = jaxgmm.Table()
for name, result in found.items():
    theirs, models = load.mclust_bic(name)
    ours = criteria(result)
    for library, bic in (("jaxgmm", ours), ("mclust", theirs)):
        best = three_best(bic, models)
        rows.append(
            {"data": name, "library": library, "best": best[0], "second": best[1], "third": best[2]}
        )
print("The three lowest values of BIC (family, K and value).\n")
print(rows)

# %% [markdown]
# ## Every cell
#
# For how many of the 126 pairs of a family and K is our BIC lower, the same (to 0.1), or higher?
# mclust gives no value where a covariance becomes singular. Fits with spurious components are left
# out here.

# %%
rows = jaxgmm.Table()
for name, result in found.items():
    theirs, models = load.mclust_bic(name)
    difference = criteria(result) - theirs
    rows.append({
        "data": name,
        "cells of both": int(np.isfinite(difference).sum()),
        "lower here": int(np.sum(difference < -0.1)),
        "same": int(np.sum(np.abs(difference) <= 0.1)),
        "higher here": int(np.sum(difference > 0.1)),
    })  # fmt: skip
print("\nOur BIC beside mclust's.\n")
print(rows)

# %% [markdown]
# ## The best model of the irises
#
# It separates setosa from the two other species, as mclust's does.

# %%
print()
print(found["iris"].best("bic").summary())

# %%
if figure.is_possible():
    ax = found["iris"].plot()
    ax.set_title("Irises: fourteen families")
    figure.save(ax.figure, "mclust_in_python.png")
