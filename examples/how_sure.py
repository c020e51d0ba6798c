"""How certain is a fit? Standard errors, intervals and tests for the penguins.

.venv/bin/python examples/how_sure.py
"""

# %%
import jax
import numpy as np
from load import penguins

import jaxgmm

jax.config.update("jax_enable_x64", True)
x, species, names = penguins()
x = np.asarray(x[:, [0, 2]])  # bill length and flipper length
names = [names[0], names[2]]
key = jax.random.key(0)
best = jaxgmm.sweep(key, x, [2, 3], restarts=16)
found = {}
for k in (2, 3):
    start = best.best("bic", n_components=k).mixture
    found[k] = jaxgmm.fit(x, start, tolerance=1e-12, max_steps=5000).mixture

# %% Every parameter with its standard error and its interval.
errors = jaxgmm.uncertainty(found[2], x)
print(errors.table(names))


# %% One number in four ways: the variance of the bill length in the first component.
def variance(mixture):
    return mixture.covariances[0, 0, 0]


resampled = jaxgmm.bootstrap(key, x, found[2], replicates=499)
profile = jaxgmm.profile_interval(variance, found[2], x)
ways = {
    "Wald": errors.interval(variance),
    "Wald, log scale": errors.interval(variance, scale="log"),
    "profile likelihood": (profile.low, profile.high),
    "bootstrap, BCa": resampled.interval(variance),
}
print()
for name, (low, high) in ways.items():
    print(f"{name:20s} {float(low):7.2f} to {float(high):7.2f}")

# %% Two kinds of penguins, or three?
print()
test = jaxgmm.likelihood_ratio(key, x, found[2], found[3], replicates=39)
print(f"2 against 3 components: {test}")
for k, mixture in found.items():
    predicted = jaxgmm.loo(mixture, x)
    print(
        f"K = {k}: log-likelihood {float(jaxgmm.log_likelihood(mixture, x)):.1f}, of rows left out "
        f"{predicted.total:.1f}, TIC {float(jaxgmm.tic(mixture, x)):.1f}"
    )
