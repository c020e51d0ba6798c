# %% [markdown]
# # Noisy measurements
#
# The velocities of simulated stars are measured with errors whose size is known for each star and
# is often larger than the structure itself. `Observed(x, noise=…)` fits the distribution of the
# true velocities (extreme deconvolution, Bovy, Hogg & Roweis 2011).
#
#     .venv/bin/python examples/noisy_measurements.py

# %%
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgmm

jax.config.update("jax_enable_x64", True)

# %%
truth = jaxgmm.Mixture.from_parameters(
    [0.6, 0.4], [[0.0, 0.0], [2.5, 1.0]], [[[1.0, 0.6], [0.6, 0.7]], [[0.1, 0.0], [0.0, 0.1]]]
)
v, _ = jaxgmm.sample(jax.random.key(0), truth, 1500)
rng = np.random.default_rng(0)
deviation = rng.uniform(0.2, 1.5, v.shape)
x = np.asarray(v) + deviation * rng.normal(size=v.shape)
observed = jaxgmm.Observed(x, noise=deviation**2)  # variances, not standard deviations

# %% [markdown]
# ## With the noise, and without
#
# EM is slow here, because most of the information is missing. A gradient method is not.

# %%
start = jaxgmm.initialize(jax.random.key(1), observed, 2)
algorithms = {
    "EM": jaxgmm.EM(), "SQUAREM": jaxgmm.SQUAREM(), "L-BFGS": jaxgmm.Gradient(optax.lbfgs)
}  # fmt: skip
fits = {
    name: jaxgmm.fit(observed, start, algorithm, max_steps=3000)
    for name, algorithm in algorithms.items()
}
print("passes until D < 1e-9")
for name, fit in fits.items():
    print(f"  {name:8} {float(fit.passes):5.0f}   objective {float(fit.objective):.3f}")
blurred = jaxgmm.fit(x, start).mixture
sharp = fits["L-BFGS"].mixture
print("\nstandard deviations of the narrow component")
narrow = lambda m: np.sqrt(np.diagonal(np.asarray(m.covariances), axis1=1, axis2=2)).min(axis=0)
for name, mixture in (("truth", truth), ("noise known", sharp), ("noise ignored", blurred)):
    print(f"  {name:14} {narrow(mixture).round(2)}")
distance = lambda m: float(jaxgmm.kl(jax.random.key(2), truth, m, 20_000).value)
print(f"\nKL from the truth: {distance(sharp):.3f} with the noise, {distance(blurred):.3f} without")

# %% [markdown]
# ## The true velocities
#
# `posterior` combines each measurement with what all stars say.

# %%
denoised = np.asarray(jaxgmm.posterior(sharp, observed).mean)
rms = lambda values: np.sqrt(np.mean((values - np.asarray(v)) ** 2))
print(f"error of a velocity: {rms(x):.2f} measured, {rms(denoised):.2f} after the fit")

# %% [markdown]
# ## The scale of the noise
#
# Suppose that all errors were stated twice too small. The likelihood is differentiable with respect
# to the noise, so the root of its slope is the factor that fits best.

# %%


def height(log_factor):
    noise = jnp.exp(2 * log_factor) * (deviation / 2) ** 2
    return jaxgmm.log_likelihood(truth, jaxgmm.Observed(x, noise=noise))


slope, log_factor = jax.jit(jax.grad(height)), 0.0
low, high = -1.0, 2.0
for _ in range(30):  # bisection of the slope
    log_factor = (low + high) / 2
    low, high = (log_factor, high) if slope(log_factor) > 0 else (low, log_factor)
print(f"\nthe stated errors are to be multiplied by {np.exp(log_factor):.2f}")
