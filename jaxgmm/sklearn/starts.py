"""The starts of `GaussianMixture`: scikit-learn's, drawn from the same random numbers."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import jax
import numpy as np
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_limits  # a dependency of scikit-learn

from ..families.registry import family_class, family_name
from ..internal.array_like import to_array
from ..internal.compiling import LITTLE_TO_RUN, jit_with_options
from ..mixture.mixture import Mixture
from ..objective.prior import Prior
from ..starts.from_assignments import from_responsibilities
from .convert import fitted_attributes, holds_matrices

if TYPE_CHECKING:
    from .estimator import GaussianMixture

# Below this many numbers to compare (rows × features × components), k-means runs on one thread.
SINGLE_THREAD_LIMIT = 1_000_000


def make_starts(
    estimator: GaussianMixture,
    x: np.ndarray,
    weight: np.ndarray,
    prior: Prior | None,
    weighted: bool,
) -> list[Mixture]:
    """Return the `n_init` starts that the estimator's parameters specify.

    Args:
      estimator: the estimator whose parameters are read.
      x: (n, d) rows.
      weight: (n,) row weights, all positive.
      prior: the prior of the M-step that makes a start from responsibilities.
      weighted: whether the user passed weights. If not, the random numbers are drawn as for rows
        without weights.
    """
    kind = estimator.covariance_type
    kind = kind if isinstance(kind, str) else family_name(kind)
    fixed = initial_parameters(estimator, x.shape[1])
    random_state = check_random_state(estimator.random_state)
    single_thread = x.size * estimator.n_components < SINGLE_THREAD_LIMIT
    padded = pad_rows(x)
    make_start = jit_with_options(_make_start, is_quick(estimator, x), runs_once=True)
    starts = []
    # On small data, threads mostly wait for each other: on a busy machine this takes seconds
    # instead of hundredths of a second.
    with threadpool_limits(1 if single_thread else None):
        for _ in range(estimator.n_init):
            start = None
            if len(fixed) < 3:
                drawn = _draw_responsibilities(
                    estimator, x, weight if weighted else None, random_state
                )
                responsibilities = np.zeros((padded_size(len(x)), estimator.n_components), x.dtype)
                responsibilities[: len(x)] = drawn
                start = make_start(kind, padded, responsibilities, pad_weight(weight), prior)
            if fixed:
                parts = ({} if start is None else fitted_attributes(start)) | fixed
                with warnings.catch_warnings():  # the fitted mixture is checked, not the start
                    warnings.simplefilter("ignore", UserWarning)
                    start = Mixture.from_parameters(
                        parts["weights_"].astype(np.float64),
                        parts["means_"].astype(x.dtype),
                        parts["covariances_"],
                        kind,
                    )
            starts.append(jax.device_get(start))
    return starts


def initial_parameters(estimator: GaussianMixture, d: int) -> dict[str, np.ndarray]:
    """Return the checked parameters that the user set, keyed by attribute, with covariances."""
    fixed, kind = _initial_parameters(estimator), estimator.covariance_type
    kind = kind if isinstance(kind, str) else family_name(kind)
    _check_shapes(fixed, estimator.n_components, d, kind)
    if "covariances_" in fixed:
        fixed["covariances_"] = _invert_precisions(fixed["covariances_"], kind)
    return fixed


def _initial_parameters(estimator: GaussianMixture) -> dict[str, np.ndarray]:
    """Return weights_init, means_init and precisions_init, keyed by the attribute they set."""
    names = {"weights_": "weights_init", "means_": "means_init", "covariances_": "precisions_init"}
    values = {attribute: getattr(estimator, name) for attribute, name in names.items()}
    return {
        attribute: np.asarray(to_array(value, names[attribute]))
        for attribute, value in values.items()
        if value is not None
    }


def is_quick(estimator: GaussianMixture, x: np.ndarray) -> bool:
    """Return whether a fit takes less time than the compilation of its program."""
    work = estimator.n_init * estimator.n_components * x.size * x.shape[1]
    return jax.default_backend() == "cpu" and work < LITTLE_TO_RUN


def _make_start(
    family: str,
    x: jax.Array,
    responsibilities: jax.Array,
    weight: jax.Array,
    prior: Prior | None,
) -> Mixture:
    return from_responsibilities(x, responsibilities, family=family, weight=weight, prior=prior)


def _check_shapes(parameters: dict[str, np.ndarray], k: int, d: int, kind: str) -> None:
    shapes = {
        "weights_": (k,),
        "means_": (k, d),
        "covariances_": family_class(kind, k, d).array_shape(k, d),
    }
    names = {"weights_": "weights", "means_": "means", "covariances_": f"{kind} precision"}
    for name, value in parameters.items():
        if value.shape != shapes[name]:
            raise ValueError(
                f"The parameter '{names[name]}' should have the shape of {shapes[name]}, but got "
                f"{value.shape}"
            )


def _draw_responsibilities(
    estimator: GaussianMixture,
    x: np.ndarray,
    weight: np.ndarray | None,
    random_state: np.random.RandomState,
) -> np.ndarray:
    """Return initial responsibilities (n, k) by the estimator's `init_params`."""
    k, n, method = estimator.n_components, len(x), estimator.init_params
    if method == "random":
        responsibilities = random_state.uniform(size=(n, k))
        return responsibilities / responsibilities.sum(axis=1, keepdims=True)
    if method == "kmeans":
        clusters = KMeans(k, n_init=1, random_state=random_state).fit(x, sample_weight=weight)
        return np.eye(k)[clusters.labels_]
    if method == "k-means++":
        _, rows = kmeans_plusplus(x, k, sample_weight=weight, random_state=random_state)
    else:
        probability = None if weight is None else weight / weight.sum(dtype=np.float64)
        rows = random_state.choice(n, size=k, replace=False, p=probability)
    responsibilities = np.zeros((n, k))
    responsibilities[rows, np.arange(k)] = 1
    return responsibilities


def _invert_precisions(precisions: np.ndarray, kind: str) -> np.ndarray:
    """Return the covariances of precisions, both in scikit-learn's shape.

    Raises ValueError for precisions that are not symmetric and positive definite.
    """
    precisions = precisions.astype(np.float64)
    if not holds_matrices(kind):
        if not (precisions > 0).all():
            raise ValueError(f"'{kind} precision' should be positive")
        return 1 / precisions
    symmetric = np.allclose(precisions, np.swapaxes(precisions, -1, -2))
    if not (symmetric and (np.linalg.eigvalsh(precisions) > 0).all()):
        raise ValueError(f"'{kind} precision' should be symmetric, positive-definite")
    inverse = np.linalg.inv(precisions)
    return (inverse + np.swapaxes(inverse, -1, -2)) / 2


def padded_size(n: int) -> int:
    """Return n rounded up by at most an eighth (or 64).

    Arrays then have few different sizes, so that new data rarely need a new compilation.
    """
    step = max(64, 1 << max(n.bit_length() - 4, 0))
    return -(-n // step) * step


def pad_rows(x: np.ndarray) -> np.ndarray:
    """Return x with copies of its first row appended, up to `padded_size` rows."""
    n = len(x)
    return np.concatenate([x, np.broadcast_to(x[:1], (padded_size(n) - n, x.shape[1]))])


def pad_weight(weight: np.ndarray) -> np.ndarray:
    """Return the row weights with zeros appended, for rows padded by `pad_rows`."""
    return np.pad(weight, (0, padded_size(len(weight)) - len(weight)))
