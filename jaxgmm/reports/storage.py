"""`save` and `load`: a mixture or a fit in one .npz file, exact to the bit.

The file holds an array for each leaf, under the names of the fields that lead to it
(`mixture.covariance.log_diagonal`), and a description as JSON: format, kind, family and, where they
were given, the features' names. NumPy alone reads it; nothing in it is ever executed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ..families.registry import FAMILIES
from ..fitting.result import Fit
from ..fitting.status import Status
from ..internal import forks
from ..internal.atomic_write import open_atomically
from ..mixture.mixture import Mixture

FORMAT = 1  # what a later version of this file must still read, or refuse by name
DESCRIPTION = "jaxgmm"
# Fields by the names that they had before.
EARLIER_NAMES = {"residual": "em_gain"}


def _blank(kind: str, family: str) -> Mixture | Fit:
    """A tree of the kind and family, to read names and shapes off."""
    mixture = Mixture(np.zeros(1), np.zeros((1, 1)), FAMILIES[family].identity(1, 1, np.float32))
    return mixture if kind == "mixture" else Fit(mixture, *np.zeros(8))


def _named_leaves(tree) -> tuple[dict, jax.tree_util.PyTreeDef]:
    paths, structure = jax.tree_util.tree_flatten_with_path(tree)
    name = lambda path: jax.tree_util.keystr(path, simple=True, separator=".")
    return {name(path): leaf for path, leaf in paths}, structure


def save(
    path: str | os.PathLike, what: Mixture | Fit, *, features: Sequence[str] | None = None
) -> None:
    """Writes a mixture or a fit to one .npz file.

    Args:
      path: the file (no suffix is added), written all at once: an older one stays whole until the
        new one is.
      what: single or batched.
      features: names of the d features, kept beside it: `feature_names` reads them, and the command
        line finds the columns of other files by them.

    Raises:
      ValueError: for anything but a `Mixture` or a `Fit`, for other than d distinct names, and
        under jit or vmap.
      OSError: where the file cannot be written.

    >>> path = os.path.join(tempfile.mkdtemp(), "model.npz")
    >>> made = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> jaxgmm.save(path, made, features=["height (m)"])
    >>> jaxgmm.load(path)
    Mixture(full, K = 2, d = 1, float32)
    >>> jaxgmm.reports.storage.feature_names(path)
    ['height (m)']
    """
    kind = {Mixture: "mixture", Fit: "fit"}.get(type(what))
    if kind is None:
        raise ValueError(f"save keeps a Mixture or a Fit, and this is a {type(what).__name__}.")
    leaves, _ = _named_leaves(what)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves.values()):
        raise ValueError("save writes a file: call it outside jit and vmap.")
    mixture = what if kind == "mixture" else what.mixture
    about = {"format": FORMAT, "kind": kind, "family": mixture.family}
    if features is not None:
        about["features"] = _checked_names(features, mixture.n_features)
    with open_atomically(path) as file:
        np.savez(file, **{DESCRIPTION: np.array(json.dumps(about))}, **leaves)


def _checked_names(features, d: int) -> list[str]:
    names = [features] if isinstance(features, str) else [str(name) for name in features]
    if len(names) != d or len(set(names)) != d:
        raise ValueError(f"features is {names}: give {d} different names, one for each feature.")
    return names


def _open(path: str | os.PathLike) -> tuple[dict, dict[str, np.ndarray]]:
    """The description of a file that `save` wrote, and its arrays by name."""
    shown = os.fspath(path)
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                found = {name: archive[name] for name in archive.files}
            about = json.loads(str(found.pop(DESCRIPTION)))
            found = {EARLIER_NAMES.get(name, name): leaf for name, leaf in found.items()}
            number, kind, family = about["format"], about["kind"], about["family"]
        except Exception:  # whatever strange bytes can lead to
            raise ValueError(
                f"{shown} is not a file that jaxgmm.save wrote, or it is damaged."
            ) from None
    if number != FORMAT:
        raise ValueError(
            f"{shown} has format {number!r}, and this version of jaxgmm reads format {FORMAT}: "
            "use the version that wrote it."
        )
    if kind not in ("mixture", "fit") or family not in FAMILIES:
        raise ValueError(
            f"{shown} holds a {kind!r} of family {family!r}, which this version of jaxgmm does not "
            "know: use the version that wrote it."
        )
    names, _ = _named_leaves(_blank(kind, family))
    if set(found) != set(names) or not _consistent(found, about):
        raise ValueError(f"{shown} is damaged: its arrays do not make a {kind}.")
    return about, found


def load(path: str | os.PathLike) -> Mixture | Fit:
    """What `save` wrote: the same kind, family, dtypes and bits. (See there for an example.)

    Raises:
      ValueError: for a file that `save` did not write, or wrote in a later format, or that is
        damaged; for float64 numbers while JAX's 64-bit mode is off.
      OSError: where there is no file that can be read.
    """
    forks.refuse()
    about, found = _open(path)
    if any(jax.dtypes.canonicalize_dtype(leaf.dtype) != leaf.dtype for leaf in found.values()):
        raise ValueError(
            f"{os.fspath(path)} holds float64 numbers, and JAX's 64-bit mode is off: load it, and "
            "use it, under `with jax.enable_x64(True):`."
        )
    names, structure = _named_leaves(_blank(about["kind"], about["family"]))
    return jax.tree.unflatten(structure, [jnp.asarray(found[name]) for name in names])


def feature_names(path: str | os.PathLike) -> list[str] | None:
    """The names of the d features that `save` was given, or None. Raises as `load`."""
    return _open(path)[0].get("features")


def _consistent(found: dict[str, np.ndarray], about: dict) -> bool:
    """Whether shapes, dtypes and names belong together; a batch has the same leading axes
    everywhere."""
    kind, family, named = about["kind"], about["family"], about.get("features")
    start = "mixture." if kind == "fit" else ""
    means = found[start + "means"]
    if means.ndim < 2 or 0 in means.shape or means.dtype not in (np.float32, np.float64):
        return False
    *batch, k, d = means.shape
    if named is not None and not (
        isinstance(named, list) and len(named) == d and all(isinstance(n, str) for n in named)
    ):
        return False
    identity = FAMILIES[family].identity(k, d, np.float32)
    own, _ = _named_leaves(Mixture(np.zeros(k), np.zeros((k, d)), identity))
    wanted = {start + name: (*batch, *leaf.shape) for name, leaf in own.items()}
    for name, leaf in found.items():
        if name in wanted:
            if leaf.shape != wanted[name] or leaf.dtype != means.dtype:
                return False
        elif leaf.dtype.kind not in "fiu" or leaf.shape[: len(batch)] != tuple(batch):
            return False
    return np.isin(found.get("status", 0), list(Status)).all()
