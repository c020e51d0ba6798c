"""Where jaxgmm's `GaussianMixture` starts: where scikit-learn's would, with its random numbers."""

from __future__ import annotations

import warnings

import jax
import numpy as np
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_limits  # scikit-learn needs it too

from ..families.registry import family_class
from ..internal import checks
from ..internal.compiling import LITTLE_TO_RUN, jit_with_options
from ..mixture.mixture import Mixture
from ..objective.prior import Prior
from ..starts.from_assignments import from_responsibilities
from .convert import attributes

FEW = 1_000_000  # numbers to compare, under which k-means takes one thread


def starts_of(estimator, x, weight, prior: Prior | None, weighted: bool) -> list[Mixture]:
    """`n_init` starts for rows x (n, d) of positive weight (n,), as an estimator's parameters say.
    Unless `weighted`, random numbers are drawn as for rows without weights."""
    kind = estimator.covariance_type
    given = _given_parameters(estimator)
    _same_shapes(given, estimator.n_components, x.shape[1], kind)
    if "covariances_" in given:
        given["covariances_"] = _covariances(given["covariances_"], kind)
    random_state, starts = check_random_state(estimator.random_state), []
    few = x.size * estimator.n_components < FEW
    rows, started = pad_rows(x), jit_with_options(_start, is_quick(estimator, x), runs_once=True)
    # On few rows threads only wait for each other: seconds on a busy machine, not hundredths.
    with threadpool_limits(1 if few else None):
        for _ in range(estimator.n_init):
            start = None
            if len(given) < 3:
                drawn = _responsibilities(estimator, x, weight if weighted else None, random_state)
                responsibilities = np.zeros((size(len(x)), estimator.n_components), x.dtype)
                responsibilities[: len(x)] = drawn
                start = started(kind, rows, responsibilities, pad_weight(weight), prior)
            if given:
                parts = ({} if start is None else attributes(start)) | given
                with warnings.catch_warnings():  # what is fitted from it is judged
                    warnings.simplefilter("ignore", UserWarning)
                    start = Mixture.from_parameters(
                        parts["weights_"].astype(np.float64), parts["means_"].astype(x.dtype),
                        parts["covariances_"], kind,
                    )  # fmt: skip
            starts.append(jax.device_get(start))
    return starts


def _given_parameters(estimator) -> dict[str, np.ndarray]:
    """What the estimator is given of its starts, by the name of the attribute that it sets."""
    names = {"weights_": "weights_init", "means_": "means_init", "covariances_": "precisions_init"}
    values = {attribute: getattr(estimator, name) for attribute, name in names.items()}
    for attribute, value in values.items():
        checks.unmasked(value, names[attribute])
    return {name: np.asarray(value) for name, value in values.items() if value is not None}


def is_quick(estimator, x) -> bool:
    """Whether a fit takes less time than its program takes to compile."""
    work = estimator.n_init * estimator.n_components * x.size * x.shape[1]
    return jax.default_backend() == "cpu" and work < LITTLE_TO_RUN


def _start(family, x, responsibilities, weight, prior) -> Mixture:
    return from_responsibilities(x, responsibilities, family=family, weight=weight, prior=prior)


def _same_shapes(given: dict, k: int, d: int, kind: str) -> None:
    shapes = {"weights_": (k,), "means_": (k, d), "covariances_": family_class(kind).shape(k, d)}
    names = {"weights_": "weights", "means_": "means", "covariances_": f"{kind} precision"}
    for name, value in given.items():
        if value.shape != shapes[name]:
            raise ValueError(
                f"The parameter '{names[name]}' should have the shape of {shapes[name]}, but got "
                f"{value.shape}"
            )


def _responsibilities(estimator, x, weight, random_state) -> np.ndarray:
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
        chance = None if weight is None else weight / weight.sum(dtype=np.float64)
        rows = random_state.choice(n, size=k, replace=False, p=chance)
    responsibilities = np.zeros((n, k))
    responsibilities[rows, np.arange(k)] = 1
    return responsibilities


def _covariances(precisions: np.ndarray, kind: str) -> np.ndarray:
    """Covariances in scikit-learn's shape from precisions in the same.

    Raises ValueError for precisions that are not symmetric and positive definite."""
    found = precisions.astype(np.float64)
    if kind in ("diag", "spherical"):
        if not (found > 0).all():
            raise ValueError(f"'{kind} precision' should be positive")
        return 1 / found
    turned = np.swapaxes(found, -1, -2)
    if not (np.allclose(found, turned) and (np.linalg.eigvalsh(found) > 0).all()):
        raise ValueError(f"'{kind} precision' should be symmetric, positive-definite")
    inverse = np.linalg.inv(found)
    return (inverse + np.swapaxes(inverse, -1, -2)) / 2


def size(n: int) -> int:
    """n, rounded up by an eighth (or 64) at the most: few sizes, so that others seldom compile."""
    step = max(64, 1 << max(n.bit_length() - 4, 0))
    return -(-n // step) * step


def pad_rows(x: np.ndarray) -> np.ndarray:
    """x with copies of its first row at the end."""
    return np.concatenate([x, np.broadcast_to(x[:1], (size(len(x)) - len(x), x.shape[1]))])


def pad_weight(weight: np.ndarray) -> np.ndarray:
    """Weights of rows that are `padded`."""
    return np.pad(weight, (0, size(len(weight)) - len(weight)))
