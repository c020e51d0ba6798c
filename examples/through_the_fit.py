"""Derivatives through a fit: influential rows, and a prior that is chosen by its gradient.

.venv/bin/python examples/through_the_fit.py
"""

# %%
import jax
import jax.numpy as jnp
import numpy as np
from load import penguins

import jaxgmm

jax.config.update("jax_enable_x64", True)
x, _, _ = penguins()
x = jnp.asarray(x[:, [0, 2]])
start = jaxgmm.initialize(jax.random.key(0), x, 2)
fitted = jaxgmm.fit(x, start, tolerance=1e-12, max_steps=5000).mixture


# %% Which rows determine the weight of the first component?
def weight_of_first(row_weights):
    return jaxgmm.fit(x, fitted, weight=row_weights).mixture.weights[0]


slopes = np.asarray(jax.grad(weight_of_first)(jnp.ones(len(x))))
strongest = np.argsort(-np.abs(slopes))[:3]
print("rows that move the first weight most:")
for n in strongest:
    print(f"  row {n}: {slopes[n]:+.4f} for each copy, at {np.asarray(x[n])}")

# %% The prior's strength, by the held-out likelihood of every third row and its gradient.
held_out = np.arange(len(x)) % 3 == 0
train, test = x[~held_out], x[held_out]


@jax.jit
@jax.value_and_grad
def loss(log_strength):
    prior = jaxgmm.Prior.from_data(train, strength=jnp.exp(log_strength))
    mixture = jaxgmm.fit(train, fitted, prior=prior).mixture
    return -jaxgmm.log_likelihood(mixture, test) / len(test)


log_strength = jnp.log(1.0)
print("\nprior strength  held-out loss  gradient")
for _ in range(6):
    value, slope = loss(log_strength)
    print(f"{float(jnp.exp(log_strength)):14.3f}  {float(value):13.5f}  {float(slope):+.5f}")
    log_strength -= 100 * slope
