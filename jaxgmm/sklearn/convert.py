"""Mixtures as scikit-learn writes them down, and back."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ..families.registry import ALIASES, family_class
from ..internal import checks, forks
from ..mixture.mixture import Mixture

COVARIANCE_TYPE = {family: alias for alias, family in ALIASES.items()}


def attributes(mixture: Mixture) -> dict[str, np.ndarray]:
    """weights_, means_, covariances_, precisions_ and precisions_cholesky_ of a mixture, in its
    dtype; covariances in the shape that scikit-learn gives the family. In NumPy, which compiles
    nothing."""
    (k, d), dtype = mixture.means.shape, np.asarray(mixture.means).dtype
    own = type(mixture.covariance).shape(k, d)
    log_diagonal, lower = (np.asarray(entry) for entry in mixture.covariance.entries())
    m = log_diagonal.shape[1]
    whitening = np.zeros((len(log_diagonal), m, m), dtype)
    whitening[:, *np.tril_indices(m, -1)] = lower
    whitening[:, *np.diag_indices(m)] = np.exp(log_diagonal)
    turned = lambda matrix: np.swapaxes(matrix, -1, -2)
    root = np.linalg.inv(whitening)
    logits = np.asarray(mixture.logits)
    weights = np.exp(logits - logits.max())
    return {
        "weights_": weights / weights.sum(),
        "means_": np.array(mixture.means),
        "covariances_": (root @ turned(root)).reshape(own),
        "precisions_": (turned(whitening) @ whitening).reshape(own),
        "precisions_cholesky_": turned(whitening).reshape(own).copy(),
    }


def from_sklearn(estimator) -> Mixture:
    """The mixture of a fitted `sklearn.mixture.GaussianMixture` (or of jaxgmm's), from its
    precisions_cholesky_; in its dtype, or float32 while JAX's 64-bit mode is off.

    Raises ValueError for an estimator that is not fitted, or not one of these.

    >>> import sklearn.mixture
    >>> x = np.concatenate([np.zeros((20, 1)), np.ones((30, 1))]) + np.linspace(0, 0.1, 50)[:, None]
    >>> theirs = sklearn.mixture.GaussianMixture(2, random_state=0).fit(x)
    >>> ours = from_sklearn(theirs)
    >>> bool(np.allclose(jaxgmm.log_likelihood(ours, x) / 50, theirs.score(x), rtol=1e-3))
    True
    >>> to_sklearn(ours).predict(x[[0, -1]]) == theirs.predict(x[[0, -1]])
    array([ True,  True])
    """
    forks.refuse()
    try:
        kind = family_class(estimator.covariance_type)
        means, factor = np.asarray(estimator.means_), np.asarray(estimator.precisions_cholesky_)
        with np.errstate(divide="ignore"):
            logits = np.log(np.asarray(estimator.weights_, means.dtype))
    except AttributeError:
        raise ValueError(
            f"{type(estimator).__name__} is not a fitted GaussianMixture: call its fit first."
        ) from None
    k, d = means.shape
    blank = kind.identity(k, d, np.float32)
    stack = blank.entries()[0].shape
    whitening = np.swapaxes(factor.reshape(*stack, stack[-1]), -1, -2)
    lower = whitening[..., *np.tril_indices(stack[-1], -1)]
    diagonal = np.log(np.diagonal(whitening, axis1=-2, axis2=-1))
    made = Mixture(logits, means, blank.holding(diagonal, lower))
    dtype = jax.dtypes.canonicalize_dtype(means.dtype)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), made)


def to_sklearn(mixture: Mixture):
    """A fitted `sklearn.mixture.GaussianMixture` that holds this mixture, in float64; absent
    components are left out.

    Raises ValueError for a batch of mixtures, and for a family that scikit-learn does not have."""
    from sklearn.mixture import GaussianMixture

    checks.one_mixture(mixture)
    kind = COVARIANCE_TYPE.get(mixture.family, mixture.family)
    if kind not in ("full", "tied", "diag", "spherical"):
        raise ValueError(f"scikit-learn has no covariances of family {mixture.family!r}.")
    present = np.asarray(mixture.present)
    made = GaussianMixture(int(present.sum()), covariance_type=kind)
    for name, value in attributes(mixture).items():
        shared = name not in ("weights_", "means_") and kind == "tied"
        setattr(made, name, np.asarray(value if shared else value[present], np.float64))
    made.n_features_in_ = mixture.n_features
    made.converged_, made.n_iter_, made.lower_bound_, made.lower_bounds_ = True, 0, np.nan, []
    return made
