"""Conversion of mixtures to and from scikit-learn's `GaussianMixture`."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..families.family import Family
from ..families.has_whitening_factor import HasWhiteningFactor
from ..families.registry import family_class
from ..internal import checks, forks
from ..mixture.mixture import Mixture

COVARIANCE_TYPE = {"diagonal": "diag"}  # what scikit-learn calls our families


def holds_matrices(family: str) -> bool:
    """Return whether covariances of a family are matrices in its own shape, or variances."""
    return family_class(family).array_shape(2, 3)[-2:] == (3, 3)


def fitted_attributes(mixture: Mixture) -> dict[str, np.ndarray]:
    """Return the attributes that a fitted scikit-learn estimator stores for a mixture.

    They are weights_, means_, covariances_, precisions_ and precisions_cholesky_, in the mixture's
    dtype and in the shapes that scikit-learn uses for the family. The computation is in NumPy, so
    that nothing is compiled.
    """
    (k, d), dtype = mixture.means.shape, np.asarray(mixture.means).dtype
    shape = type(mixture.covariance).array_shape(k, d)
    whitening = mixture.covariance.factor_on_host(d).astype(dtype)
    if whitening.ndim == 2:  # the diagonals, of which as many are equal as the shape leaves out
        whitening = whitening[:, : math.prod(shape) // len(whitening)].reshape(-1, 1, 1)
    transpose = lambda matrix: np.swapaxes(matrix, -1, -2)
    root = np.linalg.inv(whitening)
    logits = np.asarray(mixture.logits)
    weights = np.exp(logits - logits.max())
    return {
        "weights_": weights / weights.sum(),
        "means_": np.array(mixture.means),
        "covariances_": (root @ transpose(root)).reshape(shape),
        "precisions_": (transpose(whitening) @ whitening).reshape(shape),
        "precisions_cholesky_": transpose(whitening).reshape(shape).copy(),
    }


def from_sklearn(estimator: Any) -> Mixture:
    """Return the mixture of a fitted scikit-learn `GaussianMixture`.

    Args:
      estimator: a fitted `sklearn.mixture.GaussianMixture` or `jaxgmm.sklearn.GaussianMixture`. Its
        `weights_`, `means_` and `precisions_cholesky_` are read.

    Returns:
      A `Mixture` in the estimator's dtype, or in float32 if JAX's 64-bit mode is off.

    Raises:
      ValueError: if the estimator is not fitted, or is not a `GaussianMixture`.

    >>> import sklearn.mixture
    >>> x = np.concatenate([np.zeros((20, 1)), np.ones((30, 1))]) + np.linspace(0, 0.1, 50)[:, None]
    >>> theirs = sklearn.mixture.GaussianMixture(2, random_state=0).fit(x)
    >>> ours = from_sklearn(theirs)
    >>> bool(np.allclose(jaxgmm.log_likelihood(ours, x) / 50, theirs.score(x), rtol=1e-3))
    True
    >>> to_sklearn(ours).predict(x[[0, -1]]) == theirs.predict(x[[0, -1]])
    array([ True,  True])
    """
    forks.raise_if_forked()
    try:
        family = family_class(estimator.covariance_type)
        means, factor = np.asarray(estimator.means_), np.asarray(estimator.precisions_cholesky_)
        with np.errstate(divide="ignore"):
            logits = np.log(np.asarray(estimator.weights_, means.dtype))
    except AttributeError:
        raise ValueError(
            f"{type(estimator).__name__} is not a fitted GaussianMixture: call its fit first."
        ) from None
    # The leaves are NumPy arrays until the last line converts them to JAX arrays.
    k, d = means.shape
    covariance = _member_of_factors(family, k, d, factor)
    mixture = Mixture(logits, means, covariance)  # type: ignore[arg-type]
    dtype = jax.dtypes.canonicalize_dtype(means.dtype)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), mixture)


def _member_of_factors(family: type[Family], k: int, d: int, factor: np.ndarray) -> Family:
    """Return the member with these factors Wᵀ, which are in the family's own shape."""
    template = family.identity(k, d, np.float32)
    if not isinstance(template, HasWhiteningFactor):
        factor = factor.astype(np.float64)
        if factor.ndim < 3:
            return family.from_own(factor**-2, np)
        root = np.linalg.inv(factor)
        return family.from_own(np.swapaxes(root, 1, 2) @ root, np)
    stack = template.entries()[0].shape
    whitening = np.swapaxes(factor.reshape(*stack, stack[-1]), -1, -2)
    lower = whitening[..., *np.tril_indices(stack[-1], -1)]
    diagonal = np.log(np.diagonal(whitening, axis1=-2, axis2=-1))
    return template.with_entries(diagonal, lower)  # type: ignore[arg-type]


def to_sklearn(mixture: Mixture) -> Any:
    """Return a fitted `sklearn.mixture.GaussianMixture` with the parameters of a mixture.

    Args:
      mixture: a single `Mixture`. Absent components are left out.

    Returns:
      A `sklearn.mixture.GaussianMixture` in float64.

    Raises:
      ValueError: for a batch of mixtures, and for a family that scikit-learn does not have.
    """
    from sklearn.mixture import GaussianMixture

    checks.one_mixture(mixture)
    kind = COVARIANCE_TYPE.get(mixture.family, mixture.family)
    if kind not in ("full", "tied", "diag", "spherical"):
        raise ValueError(
            f"scikit-learn has no covariances of family {mixture.family!r}: use a mixture of "
            "family 'full', 'tied', 'diagonal' or 'spherical'."
        )
    present = np.asarray(mixture.present)
    estimator = GaussianMixture(int(present.sum()), covariance_type=kind)
    for name, value in fitted_attributes(mixture).items():
        shared = name not in ("weights_", "means_") and kind == "tied"
        setattr(estimator, name, np.asarray(value if shared else value[present], np.float64))
    estimator.n_features_in_ = mixture.n_features
    estimator.converged_, estimator.n_iter_ = True, 0
    estimator.lower_bound_, estimator.lower_bounds_ = np.nan, []
    return estimator
