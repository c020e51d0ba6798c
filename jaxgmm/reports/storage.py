"""`save` and `load`: a mixture, a fit or a comparison in one .npz file, exact to the bit.

The file contains one array for each leaf, named by the fields that lead to it
(`mixture.covariance.log_diagonal`), and a description in JSON: the format, the kind, the family
and, if they were passed, the names of the features. NumPy alone can read the file, and nothing in
it is executed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..comparison.result import Comparison
from ..comparison.several import Comparisons
from ..families.registry import family_class, is_family
from ..fitting.result import Fit
from ..fitting.status import Status
from ..internal import forks
from ..internal.atomic_write import open_atomically
from ..mixture.mixture import Mixture
from .comparison_storage import build_comparisons, describe_comparisons

FORMAT = 1  # a later version must read this format, or refuse it by its number
DESCRIPTION = "jaxgmm"
EARLIER_NAMES = {"residual": "em_gain"}  # from names of fields in earlier versions to today's


def _template(kind: str, family: str, k: int = 1, d: int = 1) -> Mixture | Fit:
    """Return a tree of this kind and family, whose leaves have the right names and shapes."""
    identity = family_class(family).identity(k, d, np.float32)
    # The leaves need no values, so they are NumPy arrays, which compile nothing.
    mixture = Mixture(np.zeros(k), np.zeros((k, d)), identity)  # type: ignore[arg-type]
    return mixture if kind == "mixture" else Fit(mixture, *np.zeros(8))


def _named_leaves(tree: Mixture | Fit) -> tuple[dict[str, Any], jax.tree_util.PyTreeDef]:
    paths, structure = jax.tree_util.tree_flatten_with_path(tree)
    name = lambda path: jax.tree_util.keystr(path, simple=True, separator=".")
    return {name(path): leaf for path, leaf in paths}, structure


def save(
    path: str | os.PathLike,
    what: Mixture | Fit | Comparison | Comparisons,
    *,
    features: Sequence[str] | None = None,
) -> None:
    """Write a mixture, a fit or a comparison to one .npz file.

    Args:
      path: the file; no suffix is added. It is written atomically: an existing file is replaced
        only when the new one is complete.
      what: a `Mixture` or a `Fit`, single or batched, or the result of `compare`.
      features: names of the d features, or None. `feature_names` reads them, and the command line
        finds the columns of other files by them.

    Raises:
      ValueError: for anything else, for names that are not d distinct ones or are those of a
        comparison, and under jit or vmap.
      OSError: if the file cannot be written.

    >>> path = os.path.join(tempfile.mkdtemp(), "model.npz")
    >>> made = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> jaxgmm.save(path, made, features=["height (m)"])
    >>> jaxgmm.load(path)
    Mixture(full, K = 2, d = 1, float32)
    >>> jaxgmm.reports.storage.feature_names(path)
    ['height (m)']
    """
    if isinstance(what, (Comparison, Comparisons)):
        _save_comparison(path, what, features)
        return
    kind = {Mixture: "mixture", Fit: "fit"}.get(type(what))
    if kind is None:
        raise ValueError(
            f"save writes a Mixture, a Fit or a Comparison, but this is a {type(what).__name__}."
        )
    leaves, _ = _named_leaves(what)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves.values()):
        raise ValueError("save writes a file: call it outside jit and vmap.")
    mixture = what if isinstance(what, Mixture) else what.mixture
    description: dict[str, Any] = {"format": FORMAT, "kind": kind, "family": mixture.family}
    if features is not None:
        description["features"] = _check_names(features, mixture.n_features)
    with open_atomically(path) as file:
        arrays: dict[str, Any] = {DESCRIPTION: np.array(json.dumps(description))} | leaves
        np.savez(file, **arrays)


def _save_comparison(
    path: str | os.PathLike, what: Comparison | Comparisons, features: Sequence[str] | None
) -> None:
    if features is not None:
        raise ValueError("features are stored with a Mixture or a Fit: leave them out.")
    description, arrays = describe_comparisons(what)
    description |= {"format": FORMAT, "kind": "comparison"}
    with open_atomically(path) as file:
        np.savez(file, **({DESCRIPTION: np.array(json.dumps(description))} | arrays))


def _check_names(features: Sequence[str], d: int) -> list[str]:
    names = [features] if isinstance(features, str) else [str(name) for name in features]
    if len(names) != d or len(set(names)) != d:
        raise ValueError(f"features is {names}: give {d} different names, one for each feature.")
    return names


def _read(path: str | os.PathLike) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the description and the named arrays of a file that `save` wrote."""
    shown = os.fspath(path)
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            description = json.loads(str(arrays.pop(DESCRIPTION)))
            arrays = {EARLIER_NAMES.get(name, name): leaf for name, leaf in arrays.items()}
            number, kind = description["format"], description["kind"]
            family = description["family"]
        except Exception:  # a file of unknown content can raise almost any error
            raise ValueError(
                f"{shown} is not a file that jaxgmm.save wrote, or it is damaged."
            ) from None
    if number != FORMAT:
        raise ValueError(
            f"{shown} has format {number!r}, but this version of jaxgmm reads format {FORMAT}: "
            "use the version that wrote it."
        )
    if kind not in ("mixture", "fit", "comparison") or not is_family(family):
        raise ValueError(
            f"{shown} contains a {kind!r} of family {family!r}, which this version of jaxgmm does "
            "not have: use the version that wrote it."
        )
    if kind == "comparison":
        return description, arrays
    names, _ = _named_leaves(_template(kind, family))
    if set(arrays) != set(names) or not _is_consistent(arrays, description):
        raise ValueError(f"{shown} is damaged: its arrays do not form a {kind}.")
    return description, arrays


# What a file contains is not known before it is read, so the type of the result is not either.
def load(path: str | os.PathLike) -> Any:
    """Read a mixture, a fit or a comparison from a file that `save` wrote.

    Args:
      path: the file.

    Returns:
      A `Mixture` or a `Fit` of the same family, with the same dtypes and bits; or a `Comparison`,
      or `Comparisons`, in NumPy arrays. See `save` for an example.

    Raises:
      ValueError: for a file that `save` did not write, that a later version wrote in another
        format, or that is damaged; and for a mixture or fit of float64 numbers if JAX's 64-bit mode
        is off.
      OSError: if the file cannot be read.
    """
    forks.raise_if_forked()
    description, arrays = _read(path)
    if description["kind"] == "comparison":
        try:
            return build_comparisons(description, arrays)
        except Exception:  # a damaged file can raise almost any error
            shown = os.fspath(path)
            message = f"{shown} is damaged: its arrays do not form a comparison."
            raise ValueError(message) from None
    if any(jax.dtypes.canonicalize_dtype(leaf.dtype) != leaf.dtype for leaf in arrays.values()):
        raise ValueError(
            f"{os.fspath(path)} contains float64 numbers, and JAX's 64-bit mode is off: load it, "
            "and use it, under `with jax.enable_x64(True):`."
        )
    names, structure = _named_leaves(_template(description["kind"], description["family"]))
    return jax.tree.unflatten(structure, [jnp.asarray(arrays[name]) for name in names])


def feature_names(path: str | os.PathLike) -> list[str] | None:
    """Return the names of the d features that `save` stored, or None.

    Raises the same errors as `load`, except that for float64 numbers.
    """
    return _read(path)[0].get("features")


def _is_consistent(arrays: dict[str, np.ndarray], description: dict[str, Any]) -> bool:
    """Return whether the shapes, dtypes and feature names of a file fit together.

    In a batch all arrays must have the same leading axes.
    """
    kind, features = description["kind"], description.get("features")
    prefix = "mixture." if kind == "fit" else ""
    means = arrays[prefix + "means"]
    if means.ndim < 2 or 0 in means.shape or means.dtype not in (np.float32, np.float64):
        return False
    *batch, k, d = means.shape
    if features is not None and not (
        isinstance(features, list)
        and len(features) == d
        and all(isinstance(name, str) for name in features)
    ):
        return False
    leaves, _ = _named_leaves(_template("mixture", description["family"], k, d))
    shapes = {prefix + name: (*batch, *leaf.shape) for name, leaf in leaves.items()}
    for name, leaf in arrays.items():
        if name in shapes:
            if leaf.shape != shapes[name] or leaf.dtype != means.dtype:
                return False
        elif leaf.dtype.kind not in "fiu" or leaf.shape[: len(batch)] != tuple(batch):
            return False
    return bool(np.isin(arrays.get("status", 0), list(Status)).all())
