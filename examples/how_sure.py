# %% [markdown]
# # How certain is a fit?
#
# Standard errors and intervals of the eruptions of Old Faithful, and a test of the number of
# components.
#
#     .venv/bin/python examples/how_sure.py
#
# The script prints tables. It takes about two minutes, most of which are compilation.

# %%
import jax
import load
import numpy as np

import jaxgmm

jax.config.update("jax_enable_x64", True)
x, names = load.faithful()
key = jax.random.key(0)
sweep = jaxgmm.sweep(key, x, [2, 3], restarts=16)
found = {k: sweep.best("bic", n_components=k).mixture for k in (2, 3)}

# %% [markdown]
# ## Every parameter, with its standard error and its interval

# %%
errors = jaxgmm.uncertainty(found[2], x)
print(errors.table(names))

# %% [markdown]
# ## One number in four ways
#
# The number is the variance of the duration of the longer eruptions. The likelihood is skew in a
# variance, and a Wald interval on the plain scale is symmetric.

# %%
longer = int(np.argmax(np.asarray(found[2].means)[:, 0]))


def variance(mixture: jaxgmm.Mixture) -> jax.Array:
    """Return the variance of the duration of the longer eruptions."""
    return mixture.covariances[longer, 0, 0]


resampled = jaxgmm.bootstrap(key, x, found[2], replicates=999)
profile = jaxgmm.profile_interval(variance, found[2], x)
ways = {
    "Wald": errors.interval(variance),
    "Wald, log scale": errors.interval(variance, scale="log"),
    "profile likelihood": (profile.low, profile.high),
    "bootstrap, BCa": resampled.interval(variance),
}
print()
for name, (low, high) in ways.items():
    print(f"{name:20s} {float(low):6.4f} to {float(high):6.4f}")

# %% [markdown]
# ## Two kinds of eruptions, or three?
#
# The statistic T is compared with its values for data that are drawn from two components. TIC and
# the leave-one-out likelihood ask another question: which mixture predicts new eruptions better?

# %%
print()
test = jaxgmm.likelihood_ratio(key, x, found[2], found[3], replicates=99)
print(f"2 against 3 components: {test}")
for k, mixture in found.items():
    predicted = jaxgmm.loo(mixture, x)
    print(
        f"K = {k}: log-likelihood {float(jaxgmm.log_likelihood(mixture, x)):.1f}, of rows left out "
        f"{predicted.total:.1f}, TIC {float(jaxgmm.tic(mixture, x)):.1f}"
    )
