# %% [markdown]
# # Images in 64 dimensions, with few factors
#
# A full covariance of 8×8 images has 2080 parameters, and ten clusters have more of them than there
# are images. A mixture of factor analyzers describes each cluster by its mean, a few factors
# that change many pixels together, and noise of each pixel.
#
#     .venv/bin/python examples/digits_by_factors.py
#
# The script needs scikit-learn for the images. If matplotlib is installed, it draws
# `digits_by_factors.png` next to this file.

# %%
import figure
import jax
import load
import numpy as np

import jaxgmm

jaxgmm.use_all_cores()  # one CPU device per core; must come before any other use of JAX

# %% [markdown]
# ## How many factors?
#
# Families are compared as the numbers of components are. With no factor the covariances are
# diagonal.

# %%
x, digit = load.digit_images()
found = jaxgmm.sweep(
    jax.random.key(0), x.astype(np.float32), 10, restarts=2, tolerance=1e-6,
    families=("diagonal", "factors-2", "factors-4"),
)  # fmt: skip
print("Digits: 1797 images of 64 pixels, ten components, two starts each.\n")
columns = ("family", "K", "log-likelihood", "BIC", "ICL", "seconds")
table = [{name: row[name] for name in columns} for row in found.table()]
for row in table:
    kind = found.fit(row["family"], 10).mixture
    row["parameters"] = jaxgmm.n_parameters(kind)
print(jaxgmm.Table(table))

# %% [markdown]
# ## What the clusters are
#
# Each cluster is named by the digit that most of its images show.

# %%
best = found.best("bic").mixture
cluster = np.asarray(jaxgmm.responsibilities(best, x.astype(np.float32))).argmax(axis=1)
counts = np.array([np.bincount(digit[cluster == k], minlength=10) for k in range(10)])
named = counts.max(axis=1).sum() / len(x)
print(f"\n{best.family}: {named:.0%} of the images are in a cluster of their digit.")
explained = np.asarray(jaxgmm.communalities(best))
print(f"The factors explain {explained.mean():.0%} of a pixel's variance on average.")

# %% [markdown]
# ## What the factors are
#
# A factor moves along a line in the space of images. The figure shows each cluster's mean, and the
# mean plus and minus two standard deviations of its first factor.

# %%
if figure.is_possible():
    import matplotlib.pyplot as plt

    loadings = np.asarray(jaxgmm.loadings(best))
    fig, axes = plt.subplots(3, 10, figsize=(8, 2.6))
    for k, column in enumerate(axes.T):
        for ax, amount in zip(column, (-2, 0, 2), strict=True):
            image = np.asarray(best.means[k]) + amount * loadings[k, :, 0]
            ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=17)
            ax.set_axis_off()
    for ax, label in zip(axes[:, 0], ("−2 sd", "mean", "+2 sd"), strict=True):
        ax.text(-1.5, 3.5, label, ha="right", va="center")
    fig.suptitle("The mean of each cluster, and its first factor")
    figure.save(fig, "digits_by_factors.png")
