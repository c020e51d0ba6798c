# %% [markdown]
# # Derivatives through a fit
#
# `fit` is a differentiable function of the rows, their weights and the prior. This script asks
# which rows matter, chooses a prior by a gradient, and trains a network through a fit.
#
#     .venv/bin/python examples/through_the_fit.py

# %%
import jax
import jax.numpy as jnp
import load
import numpy as np
import optax

import jaxgmm

jax.config.update("jax_enable_x64", True)
x, _, _ = load.penguins()
x = jnp.asarray(x[:, [0, 2]])  # bill length and flipper length
start = jaxgmm.initialize(jax.random.key(0), x, 2)
fitted = jaxgmm.fit(x, start, tolerance=1e-12, max_steps=5000).mixture

# %% [markdown]
# ## Which rows determine the weight of the first component?
#
# The derivative by a row's weight says what another copy of the row would change.


# %%
def weight_of_first(row_weights: jax.Array) -> jax.Array:
    return jaxgmm.fit(x, fitted, weight=row_weights).mixture.weights[0]


slopes = np.asarray(jax.grad(weight_of_first)(jnp.ones(len(x))))
print("The rows that move the first weight most:")
for n in np.argsort(-np.abs(slopes))[:3]:
    print(f"  row {n}: {slopes[n]:+.4f} for each copy, at {np.asarray(x[n])}")

# %% [markdown]
# ## The strength of the prior
#
# Every third row is held out. The gradient of its likelihood with respect to the strength passes
# through the fit to the other rows.

# %%
held_out = np.arange(len(x)) % 3 == 0
train, test = x[~held_out], x[held_out]


@jax.jit
@jax.value_and_grad
def loss(log_strength: jax.Array) -> jax.Array:
    prior = jaxgmm.Prior.from_data(train, strength=jnp.exp(log_strength))
    mixture = jaxgmm.fit(train, fitted, prior=prior).mixture
    return -jaxgmm.log_likelihood(mixture, test) / len(test)


log_strength = jnp.log(1.0)
print("\nprior strength  held-out loss  gradient")
for _ in range(6):
    value, slope = loss(log_strength)
    print(f"{float(jnp.exp(log_strength)):14.3f}  {float(value):13.5f}  {float(slope):+.5f}")
    log_strength -= 100 * slope

# %% [markdown]
# ## A clustering layer in a network
#
# The rows are two rings, one inside the other. A small network maps them to features, a mixture of
# two components is fitted to the features, and the loss compares its responsibilities with the
# labels of 20 rows. Its gradient with respect to the network passes through the fit. The other rows
# have no labels, and still determine the fit.

# %%
N, LABELED = 200, 20
keys = jax.random.split(jax.random.key(1), 4)
ring = jnp.arange(N) % 2
angle = 2 * jnp.pi * jax.random.uniform(keys[0], (N,))
radius = 1 + 2 * ring + 0.2 * jax.random.normal(keys[1], (N,))
points = radius[:, None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
parameters = {
    "hidden": jax.random.normal(keys[2], (2, 16)),
    "offset": jnp.linspace(-2, 2, 16),
    "out": jax.random.normal(keys[3], (16, 2)) / 4,
}


def features(parameters: dict[str, jax.Array]) -> jax.Array:
    """Return the network's features (n, 2) of the points."""
    inner = jnp.tanh(points @ parameters["hidden"] + parameters["offset"][None])
    return inner @ parameters["out"]


def cross_entropy(
    parameters: dict[str, jax.Array], start: jaxgmm.Mixture
) -> tuple[jax.Array, jaxgmm.Mixture]:
    """Return the loss of the labeled rows, and the mixture that is fitted to all rows."""
    rows = features(parameters)
    prior = jaxgmm.Prior.from_data(rows, strength=5.0)
    mixture = jaxgmm.fit(rows, start, prior=prior, max_steps=3000).mixture
    shares = jaxgmm.responsibilities(mixture, rows[:LABELED])
    right = jnp.take_along_axis(shares, ring[:LABELED, None], axis=1)
    return -jnp.mean(jnp.log(right + 1e-6)), mixture


optimizer = optax.adam(0.05)
state = optimizer.init(parameters)
mixture = jaxgmm.from_labels(features(parameters)[:LABELED], ring[:LABELED])


@jax.jit
def train_step(parameters, state, mixture):
    gradient_of = jax.value_and_grad(cross_entropy, has_aux=True)
    (value, mixture), gradient = gradient_of(parameters, jax.lax.stop_gradient(mixture))
    updates, state = optimizer.update(gradient, state)
    return value, optax.apply_updates(parameters, updates), state, mixture


print("\nstep  loss of labeled rows  correct among all rows")
for step in range(61):
    if step % 20 == 0:
        rows = features(parameters)
        guess = jaxgmm.responsibilities(mixture, rows).argmax(axis=1)
        correct = float(jnp.mean(guess == ring))
    value, parameters, state, mixture = train_step(parameters, state, mixture)
    if step % 20 == 0:
        print(f"{step:4d}  {float(value):20.4f}  {correct:22.1%}")
