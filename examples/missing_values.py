# %% [markdown]
# # Missing values
#
# Two penguins of the data set have no measurements at all, and more values are hidden at random
# here. The fit uses what is there of each row. It is compared with two habits: to drop incomplete
# rows, and to fill gaps with the column's mean.
#
#     .venv/bin/python examples/missing_values.py

# %%
import jax
import load
import numpy as np

import jaxgmm

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## The rows as they are, and with more gaps

# %%
measured, _ = load.penguins_with_gaps()
rng = np.random.default_rng(0)
hidden = (rng.random(measured.shape) < 0.25) & ~np.isnan(measured)
x = np.where(hidden, np.nan, measured)
complete = ~np.isnan(x).any(axis=1)
print(f"{np.isnan(x).sum()} of {x.size} values are missing.")
print(f"{complete.sum()} of {len(x)} rows are complete.\n")

# %% [markdown]
# ## Three fits of three components
#
# Each is judged by the values that were hidden: their root mean square error, in standard
# deviations of the column, when they are filled in from the rest of their row.

# %%
scale = np.nanstd(measured, axis=0)
center = np.nanmean(x, axis=0)
filled_by_mean = np.where(np.isnan(x), center, x)


def fit(rows):
    keys = jax.random.split(jax.random.key(0), 8)
    fits = jax.vmap(lambda key: jaxgmm.fit(rows, jaxgmm.initialize(key, rows, 3)))(keys)
    return jaxgmm.best(fits).mixture


def error(values):
    difference = (np.asarray(values) - measured) / scale
    return np.sqrt(np.mean(difference[hidden] ** 2))


models = {
    "all that was seen": fit(jaxgmm.Observed(x)),
    "complete rows alone": fit(x[complete]),
    "gaps filled with means": fit(filled_by_mean),
}
errors = {name: error(jaxgmm.impute(model, jaxgmm.Observed(x))) for name, model in models.items()}
print("error of the hidden values when they are filled in, in standard deviations")
print(f"  {'the column mean itself':24} {error(filled_by_mean):.3f}")
for name, value in errors.items():
    print(f"  {name:24} {value:.3f}")

# %% [markdown]
# ## Many imputations
#
# One filled table looks more certain than it is. Draws from the posterior of each row show how
# uncertain a filled value is.

# %%
best = models["all that was seen"]
draws = jaxgmm.impute(best, jaxgmm.Observed(x), key=jax.random.key(1), draws=200)
low, high = np.quantile(np.asarray(draws), [0.05, 0.95], axis=0)
inside = (measured >= low) & (measured <= high)
print(f"\n{np.mean(inside[hidden]):.0%} of the hidden values lie within their 90 % intervals.")
