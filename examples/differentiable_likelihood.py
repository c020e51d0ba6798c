# %% [markdown]
# # A mixture as one layer of a larger model
#
# This model transforms features so that Gaussians fit them better, and optax trains all of it at
# once. Each feature of the wines goes through a sinh–arcsinh transformation (Jones & Pewsey 2009,
# Biometrika 96), called the warp, whose skewness and tail weight are learned. A Gaussian mixture
# models the transformed features. The density of the wines is the density of the mixture times the
# slope of the warp. Training differentiates `jaxgmm.log_likelihood` with respect to both the
# mixture and the rows.
#
#     .venv/bin/python examples/differentiable_likelihood.py
#
# The script prints log-likelihoods of held-out wines and the learned parameters, and takes a few
# seconds. If matplotlib is installed, it also draws `differentiable_likelihood.png` next to this
# file.

# %%
from typing import NamedTuple

import figure
import jax
import jax.numpy as jnp
import load
import numpy as np
import optax

import jaxgmm

K, STEPS, FOLDS = 2, 600, 4

# %% [markdown]
# ## The model
#
# The model is one pytree. Its leaves are unconstrained, so any optimizer can update them.


# %%
class Model(NamedTuple):
    """The parameters of the warp and of the mixture."""

    skew: jax.Array  # (d,), 0 for no skewness
    log_tail: jax.Array  # (d,), 0 for unchanged tails
    mixture: jaxgmm.Mixture


def warp(model: Model, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the warped features (n, d) of standardized features z (n, d), and the log slopes."""
    tail = jnp.exp(model.log_tail)[None]
    u = tail * jnp.arcsinh(z) + model.skew[None]
    log_slope = jnp.log(tail) + jnp.logaddexp(u, -u) - jnp.log(2.0) - jnp.log1p(z**2) / 2
    return jnp.sinh(u), log_slope


def log_likelihood(model: Model, z: jax.Array, weight: jax.Array) -> jax.Array:
    """Return Σ w log p(z), by the change of variables."""
    y, log_slope = warp(model, z)
    likelihood = jaxgmm.log_likelihood(model.mixture, y, weight=weight)
    return likelihood + jnp.sum(weight[:, None] * log_slope)


# %% [markdown]
# ## Training
#
# Adam maximizes the objective of every fit, ℓ + log prior, in one compiled loop. Held-out wines
# have weight 0, so that all folds are trained in one batch.


# %%
@jax.jit
@jax.vmap
def train(
    start: Model, z: jax.Array, weight: jax.Array, prior: jaxgmm.Prior
) -> tuple[Model, jax.Array]:
    """Return the trained model and the loss before each step."""
    optimizer = optax.adam(optax.cosine_decay_schedule(0.03, STEPS))

    def loss(model: Model) -> jax.Array:
        penalty = jaxgmm.log_prior(model.mixture, prior)
        penalty -= 2 * jnp.sum(model.skew**2 + model.log_tail**2)  # N(0, 1/4) on the warp
        return -(log_likelihood(model, z, weight=weight) + penalty) / jnp.sum(weight)

    def step(carry, _):
        model, state = carry
        value, gradient = jax.value_and_grad(loss)(model)
        update, state = optimizer.update(gradient, state, model)
        return (optax.apply_updates(model, update), state), value

    (model, _), values = jax.lax.scan(step, (start, optimizer.init(start)), None, length=STEPS)
    return model, values


# %% [markdown]
# The start is the best of eight EM fits to the standardized wines, with the identity as warp.


# %%
@jax.jit
@jax.vmap
def fit_by_em(z: jax.Array, weight: jax.Array, prior: jaxgmm.Prior) -> jaxgmm.Mixture:
    """Return the best of eight EM fits."""
    keys = jax.random.split(jax.random.key(0), 8)
    starts = jax.vmap(lambda key: jaxgmm.initialize(key, z, K, weight=weight))(keys)
    fit = lambda start: jaxgmm.fit(z, start, weight=weight, prior=prior, tolerance=1e-6)
    return jaxgmm.best(jax.vmap(fit)(starts)).mixture


# %% [markdown]
# ## Wines, four folds

# %%
x, _, names = load.wine()
z = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)
n, d = z.shape
fold = np.random.default_rng(0).permutation(n) % FOLDS
trained = np.stack([fold != f for f in range(FOLDS)]).astype(np.float32)
rows = np.broadcast_to(z, (FOLDS, n, d))
prior = jax.vmap(lambda x, weight: jaxgmm.Prior.from_data(x, weight=weight))(rows, trained)

# %%
zeros = jnp.zeros((FOLDS, d))
plain = Model(zeros, zeros, fit_by_em(rows, trained, prior))
warped, losses = train(plain, rows, trained, prior)

# %% [markdown]
# ## Log-likelihood of held-out wines, and the learned parameters

# %%
each = jax.jit(jax.vmap(log_likelihood))
results = jaxgmm.Table()
for name, model in ((f"{K} Gaussians", plain), (f"{K} warped Gaussians", warped)):
    inside = float(each(model, rows, trained).sum() / trained.sum())
    outside = float(each(model, rows, 1 - trained).sum() / n)
    results.append({"model": name, "training wines": inside, "held-out wines": outside})
print(f"Log-likelihood per wine in nats, over {FOLDS} folds:\n")
print(results)
print(f"\nLoss of the first fold, step 0, {STEPS // 2} and {STEPS}:", end=" ")
print(", ".join(f"{float(losses[0, at]):.3f}" for at in (0, STEPS // 2, -1)))
print("\nLearned warp of each feature, median over the folds:\n")
skew, tail = (np.median(part, axis=0) for part in (warped.skew, np.exp(warped.log_tail)))
for name, a, b in zip(names, skew, tail, strict=True):
    print(f"  {name:16} skewness {a:5.2f}, tail {b:4.2f}")

# %% [markdown]
# ## One feature: the wines, the plain mixture, and the mixture with the warp

# %%
feature = names.index("malic acid")


def density(mixture: jaxgmm.Mixture, at: np.ndarray) -> np.ndarray:
    """Return the marginal density of the feature at points (m,)."""
    weights, means = np.asarray(mixture.weights), np.asarray(mixture.means)[:, feature]
    widths = np.sqrt(np.asarray(mixture.covariances)[:, feature, feature])
    parts = np.exp(-(((at[:, None] - means) / widths) ** 2) / 2) / widths
    return parts @ weights / np.sqrt(2 * np.pi)


model, alone = (jax.tree.map(lambda leaf: leaf[0], fold) for fold in (warped, plain.mixture))
grid = np.linspace(-2.5, 4, 400, dtype=np.float32)
y, log_slope = warp(model, jnp.broadcast_to(grid[:, None], (400, z.shape[1])))
slope = np.exp(np.asarray(log_slope)[:, feature])
warped_density = density(model.mixture, np.asarray(y)[:, feature]) * slope

# %%
if figure.is_possible():
    from matplotlib.figure import Figure

    from jaxgmm.plot import PALETTE

    ax = Figure(figsize=(6, 4), layout="constrained").subplots()
    ax.hist(z[:, feature], 30, density=True, color="0.88", edgecolor="white")
    ax.plot(grid, density(alone, grid), "--", color=PALETTE[1], lw=2, label=f"{K} Gaussians")
    ax.plot(grid, warped_density, color=PALETTE[0], lw=2, label=f"{K} warped Gaussians")
    ax.set(xlabel=f"{names[feature]}, standardized", ylabel="density", xlim=(-2.5, 4))
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    ax.set_title("Malic acid in 178 wines: the density of the first fold")
    figure.save(ax.figure, "differentiable_likelihood.png")
