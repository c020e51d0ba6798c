"""The algorithms that can be selected by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optax  # type: ignore[import-untyped]  # optax ships no type information

from ..internal import checks
from .anderson import Anderson
from .annealed import Annealed
from .auto import Auto
from .classification import Classification
from .conjugate_em import ConjugateEM
from .em import EM
from .gradient import Gradient
from .incremental import Incremental
from .minibatches import Stochastic
from .nesterov import NesterovEM
from .newton import Newton
from .overrelaxed import OverrelaxedEM
from .protocol import Algorithm
from .quasi_newton import QuasiNewtonEM
from .squarem import SQUAREM
from .stepwise import StepwiseEM
from .switching import Then
from .variance_reduced import VarianceReduced

ALGORITHMS: dict[str, Algorithm] = {
    "em": EM(),
    "squarem": SQUAREM(),
    "over-relaxed em": OverrelaxedEM(),
    "anderson": Anderson(),
    "quasi-newton em": QuasiNewtonEM(),
    "conjugate em": ConjugateEM(),
    "nesterov em": NesterovEM(),
    "lbfgs": Gradient(optax.lbfgs),
    "riemannian": Gradient(optax.lbfgs, coordinates="augmented"),
    "auto": Auto(),
    "em then lbfgs": Then(EM(), Gradient(optax.lbfgs)),
    "annealed em": Annealed(),
    "classification em": Classification(),
    "incremental em": Incremental(),
    "adam": Gradient(optax.adam, learning_rate=0.05),
    "newton": Newton(),
    "online em": Stochastic(StepwiseEM()),
    "variance-reduced em": VarianceReduced(),
    "stochastic adam": Stochastic(Gradient(optax.adam, learning_rate=0.01)),
}


def by_name(algorithm: Algorithm | str) -> Algorithm:
    """Return the algorithm itself, or the one with that name; raise ValueError if unknown."""
    if isinstance(algorithm, str):
        checks.choice(algorithm, "algorithm", tuple(ALGORITHMS))
        return ALGORITHMS[algorithm]
    checks.algorithm(algorithm)
    return algorithm


def name_of(algorithm: Algorithm) -> str:
    """Return the name of an algorithm in tables: its `name`, or that of its class."""
    return getattr(algorithm, "name", type(algorithm).__name__)


def resolve_algorithms(
    algorithms: Sequence[Algorithm | str] | Mapping[str, Algorithm | str],
) -> dict[str, Algorithm]:
    """Return algorithms by name, from a list, a mapping, or a single one.

    Raises:
      ValueError: if there is no algorithm, an unknown one, or two with the same name.
    """
    resolved: dict[str, Algorithm] = {}
    if isinstance(algorithms, Mapping):
        resolved = {str(name): by_name(algorithm) for name, algorithm in algorithms.items()}
    else:
        single = isinstance(algorithms, str) or hasattr(algorithms, "move")
        listed: list[Any] = [algorithms] if single else list(algorithms)
        for entry in listed:
            algorithm = by_name(entry)
            name = entry if isinstance(entry, str) else name_of(algorithm)
            if name in resolved:
                raise ValueError(
                    f"two algorithms are called {name!r}: pass a dictionary to name them, e.g. "
                    "{'first': …, 'second': …}."
                )
            resolved[name] = algorithm
    if not resolved:
        raise ValueError("algorithms is empty: pass at least one, e.g. [EM(), SQUAREM()].")
    return resolved
