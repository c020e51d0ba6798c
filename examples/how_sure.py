# %% [markdown]
# # How certain is a fit?
#
# Standard errors and intervals of the eruptions of Old Faithful, and a test of the number of
# components; the same of penguins.
#
#     .venv/bin/python examples/how_sure.py
#
# The script prints tables. It takes about two minutes, most of which are compilation.

# %%
from collections.abc import Callable

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
def print_intervals(x: np.ndarray, mixture: jaxgmm.Mixture, number: Callable, scale: str) -> None:
    """Print the 95 % intervals of a number by four methods."""
    errors = jaxgmm.uncertainty(mixture, x)
    profile = jaxgmm.profile_interval(number, mixture, x)
    ways = {
        "Wald": errors.interval(number),
        f"Wald, {scale} scale": errors.interval(number, scale=scale),
        "profile likelihood": (profile.low, profile.high),
        "bootstrap, BCa": jaxgmm.bootstrap(key, x, mixture, replicates=999).interval(number),
    }
    print()
    for name, (low, high) in ways.items():
        print(f"{name:20s} {float(low):6.4f} to {float(high):6.4f}")


longer = int(np.argmax(np.asarray(found[2].means)[:, 0]))


def variance(mixture: jaxgmm.Mixture) -> jax.Array:
    """Return the variance of the duration of the longer eruptions."""
    return mixture.covariances[longer, 0, 0]


print_intervals(x, found[2], variance, "log")

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

# %% [markdown]
# ## How many of the penguins are the smallest group?
#
# Three components are the three species (four measurements, no labels). The number is the weight of
# the smallest one, and the test is of three components against four.

# %%
x = load.penguins()[0]
sweep = jaxgmm.sweep(key, x, [3, 4], restarts=16)
found = {k: sweep.best("bic", n_components=k).mixture for k in (3, 4)}
smallest = int(np.argmin(np.asarray(found[3].weights)))


def share(mixture: jaxgmm.Mixture) -> jax.Array:
    """Return the weight of the smallest group."""
    return mixture.weights[smallest]


print(f"\nThe smallest group of penguins: {float(share(found[3])):.3f}")
print_intervals(x, found[3], share, "logit")
test = jaxgmm.likelihood_ratio(key, x, found[3], found[4], replicates=99)
print(f"\n3 against 4 components: {test}")
