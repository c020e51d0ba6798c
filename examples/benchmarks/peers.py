"""EM of other libraries, from the same start as jaxgmm's.

Each function returns a function `run(steps)`, which fits at most `steps` iterations and returns how
many it made. `installed` says which libraries can be imported.
"""

from __future__ import annotations

import importlib.util
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from timing import Run

import jaxgmm

warnings.filterwarnings("ignore", message=".*did not converge")
NAMES = {"full": "full", "tied": "tied", "diagonal": "diag", "spherical": "spherical"}
NEVER = 1e-30  # a tolerance that is never met; it must be positive


def scikit_learn(x: np.ndarray, start: jaxgmm.Mixture, family: str) -> Run:
    """Return a fit by scikit-learn, in NumPy, on as many cores as its BLAS uses."""
    from sklearn.mixture import GaussianMixture

    precisions = np.asarray(start.precisions, x.dtype)
    if family == "tied":
        precisions = precisions[0]
    elif family != "full":
        precisions = np.diagonal(precisions, axis1=1, axis2=2)
    if family == "spherical":
        precisions = precisions[:, 0]
    weights = np.asarray(start.weights, np.float64)

    def run(steps: int) -> int:
        return GaussianMixture(
            start.n_components, covariance_type=NAMES[family], tol=0.0, max_iter=steps,
            weights_init=weights / weights.sum(), means_init=np.asarray(start.means),
            precisions_init=precisions, init_params="random", random_state=0,
        ).fit(x).n_iter_  # fmt: skip

    return run


def gmmx(x: np.ndarray, start: jaxgmm.Mixture, family: str) -> Run:
    """Return a fit by gmmx, in JAX, which compiles again for each number of iterations."""
    import gmmx

    mixture = gmmx.GaussianMixtureModelJax.from_squeezed(
        means=start.means, covariances=jnp.asarray(_covariances(start, family)),
        weights=start.weights, covariance_type=NAMES[family],
    )  # fmt: skip
    rows = jnp.asarray(x)

    def run(steps: int) -> int:
        found = gmmx.EMFitter(max_iter=steps, tol=0.0).fit(rows, mixture)
        jax.block_until_ready(found.gmm.means)
        return int(found.n_iter)

    return run


def tgmm(x: np.ndarray, start: jaxgmm.Mixture, family: str) -> Run:
    """Return a fit by tgmm, in PyTorch."""
    import tgmm
    import torch

    rows = torch.from_numpy(np.array(x))
    tensor = lambda values: torch.from_numpy(np.array(values))
    initial = {
        "init_means": tensor(start.means),
        "init_weights": tensor(start.weights),
        "init_covariances": tensor(_covariances(start, family)),
    }

    def run(steps: int) -> int:
        return tgmm.GaussianMixture(
            start.n_components, x.shape[1], NAMES[family], max_iter=steps, tol=NEVER,
            device="cpu", **initial,
        ).fit(rows).n_iter_  # fmt: skip

    return run


def pomegranate(x: np.ndarray, start: jaxgmm.Mixture, family: str) -> Run:
    """Return a fit by pomegranate, in PyTorch."""
    import torch
    from pomegranate.distributions import Normal
    from pomegranate.gmm import GeneralMixtureModel

    rows = torch.from_numpy(np.array(x))
    tensor = lambda values: torch.from_numpy(np.array(values))

    def run(steps: int) -> int:
        pieces = zip(tensor(start.means), tensor(_covariances(start, family)), strict=True)
        components = [Normal(mean, spread, NAMES[family]) for mean, spread in pieces]
        mixture = GeneralMixtureModel(components, tensor(start.weights))
        for _ in range(steps):
            mixture.summarize(rows)
            mixture.from_summaries()
        return steps

    return run


def extreme_deconvolution(x: np.ndarray, noise: np.ndarray, start: jaxgmm.Mixture) -> Run:
    """Return a fit to rows with noise by Bovy's extreme-deconvolution, in C with OpenMP."""
    from extreme_deconvolution import extreme_deconvolution as fit

    def run(steps: int) -> int:
        parameters = (np.array(part) for part in (start.weights, start.means, start.covariances))
        fit(x, noise, *parameters, tol=NEVER, maxiter=steps)
        return steps

    return run


def astroml(x: np.ndarray, noise: np.ndarray, start: jaxgmm.Mixture) -> Run:
    """Return a fit to rows with noise by astroML's XDGMM, in NumPy and SciPy."""
    from astroML.density_estimation import XDGMM

    d = x.shape[1]
    covariances = noise[:, :, None] * np.eye(d) if noise.ndim == 2 else noise

    def run(steps: int) -> int:
        model = XDGMM(start.n_components)
        model.alpha, model.mu, model.V = map(
            np.array, (start.weights, start.means, start.covariances)
        )
        for _ in range(steps):  # as its `fit` does, which makes a start of its own
            model._EMstep(x, covariances)
            model.logL(x, covariances)
        return steps

    return run


def _covariances(start: jaxgmm.Mixture, family: str) -> np.ndarray:
    covariances = np.asarray(start.covariances)
    return np.diagonal(covariances, axis1=1, axis2=2) if family == "diagonal" else covariances


PEERS = {
    "scikit-learn": scikit_learn,
    "gmmx": gmmx,
    "tgmm": tgmm,
    "pomegranate": pomegranate,
}
NOISE_PEERS = {"extreme-deconvolution": extreme_deconvolution, "astroML": astroml}  # for noisy rows
MODULES = {"scikit-learn": "sklearn", "extreme-deconvolution": "extreme_deconvolution"}


def installed(name: str) -> bool:
    """Return whether a library can be imported."""
    return importlib.util.find_spec(MODULES.get(name, name)) is not None
