# %% [markdown]
# # Regression by a mixture
#
# A mixture of inputs and targets together is a regression: given the inputs, the targets have a
# mixture distribution. `regress` returns its mean and covariance for many rows, and `condition`
# returns the distribution itself. Two examples show when each of them is needed.
#
#     .venv/bin/python examples/regression.py
#
# If matplotlib is installed, the script draws `regression.png` next to this file.

# %%
import figure
import jax
import load
import numpy as np

import jaxgmm

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## An inverse problem with several answers
#
# The forward problem y = t + 0.3 sin(2πt) has one answer for each t. The inverse problem, t given
# y, has up to three. (The data are those of Bishop 1994, Mixture Density Networks.)

# %%
rng = np.random.default_rng(0)
t = rng.uniform(0, 1, 600)
y = t + 0.3 * np.sin(2 * np.pi * t) + 0.05 * rng.uniform(-1, 1, 600)
rows = np.stack([y, t], axis=1)
inverse = jaxgmm.fit(rows, jaxgmm.initialize(jax.random.key(0), rows, 6)).mixture

at = 0.5
mean = float(jaxgmm.regress(inverse, 0, [[at]]).mean[0, 0])
answers = jaxgmm.condition(inverse, 0, [at])
points, _ = jaxgmm.modes(answers)
forward = lambda t: t + 0.3 * np.sin(2 * np.pi * t)
print(f"1. Which t leads to y = {at}?\n")
print(f"  the conditional mean            t = {mean:.2f}, from which y = {forward(mean):.2f}")
print("  the modes of the conditional    density   y from there")
for point in np.asarray(points)[:3, 0]:
    density = float(np.exp(jaxgmm.log_prob(answers, [[point]])[0]))
    print(f"    t = {point:.2f}                      {density:7.2f}   {forward(point):.2f}")

# %% [markdown]
# The mean lies between the answers. Here it is close to the middle one by symmetry, so the rows
# tell more: how far is y at the predicted t from the y that was asked for?

# %%
asked = np.linspace(0.05, 0.95, 91)[:, None]
by_mean = np.asarray(jaxgmm.regress(inverse, 0, asked).mean)[:, 0]
conditionals = jax.vmap(lambda row: jaxgmm.condition(inverse, 0, row))(asked)
heaviest = np.argmax(np.asarray(conditionals.logits), axis=1)
by_component = np.asarray(conditionals.means)[np.arange(len(asked)), heaviest, 0]
print("\n  root mean square error of y, over y from 0.05 to 0.95:")
for name, guess in (("conditional mean", by_mean), ("heaviest component", by_component)):
    error = np.sqrt(np.mean((forward(guess) - asked[:, 0]) ** 2))
    print(f"    {name:20} {error:.3f}")

# %% [markdown]
# ## Body mass of penguins, with bands
#
# The mixture is fitted to half of the penguins. For the others the body mass is predicted from
# the bill and the flipper, with the central 90 % of its conditional distribution.

# %%
x, _, names = load.penguins()
order = rng.permutation(len(x))
seen, held_out = x[order[::2]], x[order[1::2]]
start = jaxgmm.initialize(jax.random.key(1), seen, 3)
penguins = jaxgmm.fit(seen, start).mixture

prediction = jaxgmm.regress(penguins, names[:3], held_out[:, :3], names=names)
low, high = np.asarray(prediction.quantile([0.05, 0.95])).T
truth, mass = held_out[:, 3], np.asarray(prediction.mean)[:, 0]
inside = np.mean((low < truth) & (truth < high))
share = 1 - np.mean((truth - mass) ** 2) / np.var(truth)
print(f"\n2. Body mass of {len(truth)} penguins that were not fitted ({penguins})\n")
print(f"  R² of the mean                    {share:.2f}")
print(f"  masses inside their 90 % bands    {100 * inside:.0f} %")
print(f"  width of the bands                {np.min(high - low):.0f} to {np.max(high - low):.0f} g")

# %% [markdown]
# A measurement that is missing is left out of the condition: the marginal of the others is enough.

# %%
without_bill = jaxgmm.marginal(penguins, names[2:], names=names)
wider = jaxgmm.regress(without_bill, 0, held_out[:, 2:3])
print(
    f"  mean standard deviation           {np.mean(prediction.standard_deviation):.0f} g, "
    f"and {np.mean(wider.standard_deviation):.0f} g without the bill"
)

# %%
if figure.is_possible():
    from jaxgmm import plot
    from jaxgmm.plot.style import new_axes

    left, right = new_axes(10, 4, ncols=2)
    plot.conditional(inverse, 0, 1, left, rows=rows, names=["y", "t"])
    left.set_title("an inverse problem: the mean is no answer")
    plot.conditional(penguins, names[2], names[3], right, rows=x, names=names)
    right.set_title("penguins")
    figure.save(left.figure, "regression.png")
