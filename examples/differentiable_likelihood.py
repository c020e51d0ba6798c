# %% [markdown]
# # A mixture as one layer of a larger model
#
# Features are bent until Gaussians fit them, and all of it is trained at once by optax. Each
# feature of the wines goes through a sinh–arcsinh warp, whose skewness and tail weight are learned
# (Jones & Pewsey 2009, Biometrika 96), and a mixture models what comes out. The density of the
# wines is that of the mixture times the warp's slope: `jaxgmm.log_likelihood` is differentiated
# both with respect to the mixture and with respect to the rows it is given.
#
#     .venv/bin/python examples/differentiable_likelihood.py
#
# Prints log-likelihoods of wines left out, and what was learned; takes some seconds. Draws
# `differentiable_likelihood.png` beside this file where matplotlib is installed.

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
# It is one pytree. Every leaf is a free real number, so any optimizer may move it.


# %%
class Model(NamedTuple):
    skew: jax.Array  # (d,), 0 for none
    log_tail: jax.Array  # (d,), 0 for tails as they are
    mixture: jaxgmm.Mixture


def warp(model: Model, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Standardized features z (n, d), warped, and the logarithm of the warp's slope (n, d)."""
    tail = jnp.exp(model.log_tail)[None]
    bent = tail * jnp.arcsinh(z) + model.skew[None]
    slope = jnp.log(tail) + jnp.logaddexp(bent, -bent) - jnp.log(2.0) - jnp.log1p(z**2) / 2
    return jnp.sinh(bent), slope


def log_likelihood(model: Model, z: jax.Array, weight: jax.Array) -> jax.Array:
    """Σ w log p(z), by the change of variables."""
    y, slope = warp(model, z)
    return jaxgmm.log_likelihood(model.mixture, y, weight=weight) + jnp.sum(weight[:, None] * slope)


# %% [markdown]
# ## Training
#
# The objective of every fit, ℓ + log prior, is climbed by Adam in one compiled loop. Wines that are
# left out have weight 0, so that all folds are trained side by side.


# %%
@jax.jit
@jax.vmap
def train(start: Model, z: jax.Array, weight: jax.Array, prior: jaxgmm.Prior):
    optimizer = optax.adam(optax.cosine_decay_schedule(0.03, STEPS))

    def loss(model):
        penalty = jaxgmm.log_prior(model.mixture, prior)
        penalty -= 2 * jnp.sum(model.skew**2 + model.log_tail**2)  # N(0, 1/4) on the warp
        return -(log_likelihood(model, z, weight=weight) + penalty) / jnp.sum(weight)

    def step(carry, _):
        model, state = carry
        value, slope = jax.value_and_grad(loss)(model)
        update, state = optimizer.update(slope, state, model)
        return (optax.apply_updates(model, update), state), value

    (model, _), values = jax.lax.scan(step, (start, optimizer.init(start)), None, length=STEPS)
    return model, values


# %% [markdown]
# The start is EM's best of some, on the wines as they are: a warp that does nothing.


# %%
@jax.jit
@jax.vmap
def by_em(z, weight, prior) -> jaxgmm.Mixture:
    keys = jax.random.split(jax.random.key(0), 8)
    starts = jax.vmap(lambda key: jaxgmm.initialize(key, z, K, weight=weight))(keys)
    climb = lambda start: jaxgmm.fit(z, start, weight=weight, prior=prior, tolerance=1e-6)
    return jaxgmm.best(jax.vmap(climb)(starts)).mixture


# %% [markdown]
# ## Wines, four folds

# %%
x, _, names = load.wine()
z = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)
n, d = z.shape
fold = np.random.default_rng(0).permutation(n) % FOLDS
kept = np.stack([fold != f for f in range(FOLDS)]).astype(np.float32)
rows = np.broadcast_to(z, (FOLDS, n, d))
prior = jax.vmap(jaxgmm.Prior.from_data)(rows, kept)

# %%
flat = jnp.zeros((FOLDS, d))
plain = Model(flat, flat, by_em(rows, kept, prior))
warped, losses = train(plain, rows, kept, prior)

# %% [markdown]
# ## What it is worth, on wines that were left out, and what was learned

# %%
each = jax.jit(jax.vmap(log_likelihood))
told = jaxgmm.Table()
for name, model in ((f"{K} Gaussians", plain), (f"{K} warped Gaussians", warped)):
    inside = float(each(model, rows, kept).sum() / kept.sum())
    outside = float(each(model, rows, 1 - kept).sum() / n)
    told.append({"model": name, "wines kept": inside, "wines left out": outside})
print(f"Log-likelihood per wine in nats, over {FOLDS} folds:\n")
print(told)
print(f"\nLoss of the first fold, step 0, {STEPS // 2} and {STEPS}:", end=" ")
print(", ".join(f"{float(losses[0, at]):.3f}" for at in (0, STEPS // 2, -1)))
print("\nWhat the warps learned of each feature, median over the folds:\n")
skew, tail = (np.median(part, axis=0) for part in (warped.skew, np.exp(warped.log_tail)))
for name, a, b in zip(names, skew, tail, strict=True):
    print(f"  {name:16} skewness {a:5.2f}, tail {b:4.2f}")

# %% [markdown]
# ## One feature: the wines, the mixture alone, and the mixture with the warp

# %%
feature = names.index("malic acid")


def density(mixture, at):
    """The feature's marginal of a mixture, at points (m,)."""
    weights, means = np.asarray(mixture.weights), np.asarray(mixture.means)[:, feature]
    widths = np.sqrt(np.asarray(mixture.covariances)[:, feature, feature])
    parts = np.exp(-(((at[:, None] - means) / widths) ** 2) / 2) / widths
    return parts @ weights / np.sqrt(2 * np.pi)


model, alone = (jax.tree.map(lambda leaf: leaf[0], fold) for fold in (warped, plain.mixture))
grid = np.linspace(-2.5, 4, 400, dtype=np.float32)
y, slope = warp(model, jnp.broadcast_to(grid[:, None], (400, z.shape[1])))
bent = density(model.mixture, np.asarray(y)[:, feature]) * np.exp(np.asarray(slope)[:, feature])

# %%
if figure.possible():
    from matplotlib.figure import Figure

    from jaxgmm.plot import PALETTE

    ax = Figure(figsize=(6, 4), layout="constrained").subplots()
    ax.hist(z[:, feature], 30, density=True, color="0.88", edgecolor="white")
    ax.plot(grid, density(alone, grid), "--", color=PALETTE[1], lw=2, label=f"{K} Gaussians")
    ax.plot(grid, bent, color=PALETTE[0], lw=2, label=f"{K} warped Gaussians")
    ax.set(xlabel=f"{names[feature]}, standardized", ylabel="density", xlim=(-2.5, 4))
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    ax.set_title("Malic acid in 178 wines: the density of the first fold")
    figure.keep(ax.figure, "differentiable_likelihood.png")
