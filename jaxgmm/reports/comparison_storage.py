"""The arrays and the description of comparisons, as `save` and `load` store them."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ..comparison.optima import Optimum
from ..comparison.result import Comparison
from ..comparison.several import Comparisons
from ..families.registry import family_class
from ..fitting.result import Fit
from ..mixture.mixture import Mixture

BY_ALGORITHM = (
    "objective", "em_gain", "gradient_norm", "seconds", "forward_passes", "optimum",
)  # fmt: skip


def describe_comparisons(what: Comparison | Comparisons) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the description, for JSON, and the arrays by name."""
    parts: dict[str, Comparison] = {"": what} if isinstance(what, Comparison) else dict(what)
    description: dict[str, Any] = {"family": next(iter(parts.values())).starts.family, "parts": []}
    arrays: dict[str, Any] = {}
    for i, (name, part) in enumerate(parts.items()):
        # The dictionaries of a comparison need not have their keys in the same order.
        names = list(part.fits)
        in_order = lambda values, names=names: [values[name] for name in names]
        description["parts"].append(
            {
                "name": name,
                "algorithms": names,
                "compile_seconds": in_order(part.compile_seconds),
                "forward_price": part.forward_price,
                "total_weight": part.total_weight,
                "optima": [optimum.objective for optimum in part.optima],
            }
        )
        trees = {
            "starts": part.starts,
            "optima": [optimum.mixture for optimum in part.optima],
            "fits": in_order(part.fits),
        } | {field: in_order(getattr(part, field)) for field in BY_ALGORITHM}
        for field, tree in trees.items():
            for j, leaf in enumerate(jax.tree.leaves(tree)):
                arrays[f"{i}.{field}.{j}"] = np.asarray(leaf)
    return description, arrays


def build_comparisons(
    description: dict[str, Any], arrays: dict[str, np.ndarray]
) -> Comparison | Comparisons:
    """Return what `describe_comparisons` took apart; raise almost any error if that fails."""
    identity = family_class(description["family"]).identity(1, 1, np.float32)
    mixture = Mixture(np.zeros(1), np.zeros((1, 1)), identity)  # type: ignore[arg-type]
    fit = Fit(mixture, *np.zeros(8))
    used = 0

    def take(i: int, field: str, template: Any) -> Any:
        nonlocal used
        places, structure = jax.tree.flatten(template)
        used += len(places)
        leaves = [arrays[f"{i}.{field}.{j}"] for j in range(len(places))]
        return jax.tree.unflatten(structure, leaves)

    parts = {}
    for i, part in enumerate(description["parts"]):
        names = part["algorithms"]
        optima = zip(
            part["optima"], take(i, "optima", [mixture] * len(part["optima"])), strict=True
        )
        by_name = lambda values, names=names: dict(zip(names, values, strict=True))
        parts[part["name"]] = Comparison(
            fits=by_name(take(i, "fits", [fit] * len(names))),
            starts=take(i, "starts", mixture),
            optima=[Optimum(height, at) for height, at in optima],
            compile_seconds=by_name(part["compile_seconds"]),
            forward_price=float(part["forward_price"]),
            total_weight=float(part["total_weight"]),
            **{field: by_name(take(i, field, [0] * len(names))) for field in BY_ALGORITHM},
        )
        parts[part["name"]].table()  # fails if the shapes do not fit together
    if used != len(arrays):
        raise ValueError("there are further arrays")
    return parts[""] if list(parts) == [""] else Comparisons(parts)
