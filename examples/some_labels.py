# %% [markdown]
# # Some labels
#
# Of a few penguins the species is known. Labels name components, so the fit keeps their numbers,
# and the rows without labels improve on what the labeled rows say alone.
#
#     .venv/bin/python examples/some_labels.py

# %%
import jax
import load
import numpy as np

import jaxgmm

jax.config.update("jax_enable_x64", True)

# %%
x, species, _ = load.penguins()
rng = np.random.default_rng(0)
chosen = np.concatenate([rng.choice(np.flatnonzero(species == s), 6, False) for s in range(3)])
labels = np.full(len(x), -1)
labels[chosen] = species[chosen]
print(f"{len(chosen)} of {len(x)} penguins have labels.\n")

# %% [markdown]
# ## Labels alone, labels with all rows, and no labels
#
# `from_labels` uses the labeled rows only. With `Observed`, the others count too.

# %%
prior = jaxgmm.Prior.from_data(x)
alone = jaxgmm.from_labels(x[chosen], species[chosen], prior=prior)
observed = jaxgmm.Observed(x, labels=labels)
start = jaxgmm.initialize(jax.random.key(0), observed, 3)
together = jaxgmm.fit(observed, start).mixture
unknown = labels < 0


def accuracy(mixture):
    likeliest = np.argmax(np.asarray(jaxgmm.responsibilities(mixture, x)), axis=1)
    return np.mean(likeliest[unknown] == species[unknown])


print("rows without a label whose species is found")
print(f"  {'labeled rows alone':24} {accuracy(alone):.1%}")
print(f"  {'all rows':24} {accuracy(together):.1%}")

# %% [markdown]
# ## Partial labels
#
# `allowed` says less: here, that a penguin on the island of Biscoe is no Chinstrap.

# %%
on_biscoe = load.penguin_islands() == "Biscoe"
allowed = np.ones((len(x), 3), bool)
allowed[on_biscoe, load.PENGUIN_SPECIES.index("Chinstrap")] = False
observed = jaxgmm.Observed(x, labels=labels, allowed=allowed)
fit = jaxgmm.fit(observed, start)
print(f"  {'and the island':24} {accuracy(fit.mixture):.1%}")
