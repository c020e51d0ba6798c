# %% [markdown]
# # Distances between mixtures
#
# A group of rows can be summarized by a mixture, and groups can be compared by the distance of
# their mixtures. The Wasserstein distance MW₂ says how far mass must move, in the units of the
# data. The Kullback–Leibler divergence says how well rows of one group can be told from the
# other's. Both have gradients.
#
#     .venv/bin/python examples/distances.py
#
# If matplotlib is installed, the script draws `distances.png` next to this file.

# %%
import figure
import jax
import jax.numpy as jnp
import load
import numpy as np

import jaxgmm

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## Penguins of three species
#
# A mixture of two components (roughly, the sexes) describes each species. The features are in
# standard deviations, so that they count alike in a distance.

# %%
x, species, names = load.penguins()
x = (x - x.mean(axis=0)) / x.std(axis=0)
names = [name.split(" (")[0] for name in names]  # without units
groups = []
for i in range(3):
    weight = (species == i).astype(float)  # rows of weight 0 do not count
    start = jaxgmm.initialize(jax.random.key(0), x, 2, family="tied", weight=weight)
    groups.append(jaxgmm.fit(x, start, weight=weight).mixture)


def show(title, distance):
    """Print the distance of each species to each other one."""
    print(f"  {title}")
    print("            " + "".join(f"{name:>11}" for name in load.PENGUIN_SPECIES))
    for name, one in zip(load.PENGUIN_SPECIES, groups, strict=True):
        cells = "".join(f"{float(distance(one, other)):11.2f}" for other in groups)
        print(f"  {name:10}{cells}")
    print()


print("1. How far apart are three species of penguins?\n")
show("MW2, in standard deviations", jaxgmm.mw2)
show(
    "Kullback–Leibler divergence of the row from the column, in nats",
    lambda one, other: jaxgmm.kl(jax.random.key(0), one, other, 20_000).value,
)
estimate = jaxgmm.kl(jax.random.key(0), groups[0], groups[1], 20_000)
print(f"  Adelie from Chinstrap: {estimate}, by the variational approximation "
      f"{float(jaxgmm.kl_variational(groups[0], groups[1])):.2f}")  # fmt: skip

# %% [markdown]
# The plan behind the distance moves rows of one species to where those of another one are. The
# mixtures on the way are the geodesic: half of the way is half of the distance.

# %%
plan = jaxgmm.mw2_plan(groups[0], groups[1])
half = plan.mixture(0.5)
moved = plan.map(x[species == 0])
print(f"\n  half of the way: {float(jaxgmm.mw2(groups[0], half)):.3f} of {float(plan.value):.3f}")
moved_score = float(jnp.mean(jaxgmm.log_prob(groups[1], moved)))
own_score = float(jnp.mean(jaxgmm.log_prob(groups[1], x[species == 1])))
print(f"  log p under the Chinstraps' mixture, per row: {own_score:.2f} for Chinstraps, "
      f"{moved_score:.2f} for moved Adelies")  # fmt: skip

# %% [markdown]
# ## A gradient through a distance
#
# The distance has derivatives with respect to both mixtures. Here a linear map is learned that
# moves Adelies to Gentoos: its matrix is near the identity, and MW₂² is minimized by gradient
# descent. `affine` moves the whole mixture, so that no row is needed.


# %%
@jax.jit
def loss(parameters):
    matrix, offset = parameters
    moved = jaxgmm.affine(groups[0], jnp.eye(4) + matrix, offset)
    return jaxgmm.mw2(moved, groups[2]) ** 2 + 0.1 * jnp.sum(matrix**2)


step = jax.jit(jax.value_and_grad(loss))
parameters = jnp.zeros((4, 4)), jnp.zeros(4)
print("\n2. A map from Adelies to Gentoos, learned by the gradient of MW2²\n")
for i in range(41):
    value, slope = step(parameters)
    if i % 10 == 0:
        print(f"  step {i:2}  MW2² + penalty = {float(value):.3f}")
    parameters = jax.tree.map(lambda p, g: p - 0.2 * g, parameters, slope)
matrix, offset = parameters
print("\n  moved by, in standard deviations:")
for name, shift in zip(names, np.asarray(offset), strict=True):
    print(f"    {name:20} {shift:6.2f}")

# %% [markdown]
# ## A gradient through a step of EM
#
# An M-step is a differentiable function of the rows. So is the distance of its mixture to a
# target, which says in which direction each row would have to move.


# %%
def distance_after_step(rows):
    """Return MW₂² from the mixture after an EM step on these rows to the Gentoos."""
    r = jax.lax.stop_gradient(jaxgmm.responsibilities(groups[0], rows))
    mixture = jaxgmm.from_responsibilities(rows, r, family="tied")
    return jaxgmm.mw2(mixture, groups[2]) ** 2


slopes = jax.grad(distance_after_step)(jnp.asarray(x[species == 0]))
direction = -np.asarray(slopes).sum(axis=0)
print("\n3. Where the rows would have to go, by the gradient through an M-step\n")
for name, part in zip(names, direction / np.linalg.norm(direction), strict=True):
    print(f"    {name:20} {part:6.2f}")

# %%
if figure.is_possible():
    from jaxgmm import plot
    from jaxgmm.plot.style import new_axes

    left, right = new_axes(10, 4, ncols=2)
    plot.transport(plan, left, features=(0, 1))
    left.set(title="Adelies to Chinstraps", xlabel=names[0], ylabel=names[1])
    plot.ellipses(half, right)
    right.set(title="half of the way", xlabel=names[0], ylabel=names[1])
    figure.save(left.figure, "distances.png")
