"""The algorithms that have a name of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import optax

from ..internal import checks
from .em import EM
from .gradient import Gradient
from .minibatches import Stochastic
from .overrelaxed import OverrelaxedEM
from .protocol import Algorithm
from .squarem import SQUAREM
from .stepwise import StepwiseEM
from .switching import Then

ALGORITHMS = {
    "em": EM(),
    "squarem": SQUAREM(),
    "over-relaxed em": OverrelaxedEM(),
    "lbfgs": Gradient(optax.lbfgs),
    "em then lbfgs": Then(EM(), Gradient(optax.lbfgs)),
    "adam": Gradient(optax.adam, learning_rate=0.05),
    "online em": Stochastic(StepwiseEM()),
    "stochastic adam": Stochastic(Gradient(optax.adam, learning_rate=0.01)),
}


def by_name(algorithm: Algorithm | str) -> Algorithm:
    """The algorithm itself, or the one of that name. Raises ValueError if there is none."""
    if isinstance(algorithm, str):
        checks.choice(algorithm, "algorithm", tuple(ALGORITHMS))
        return ALGORITHMS[algorithm]
    checks.algorithm(algorithm)
    return algorithm


def name_of(algorithm: Algorithm) -> str:
    """How tables call an algorithm: by its `name`, or by its class."""
    return getattr(algorithm, "name", type(algorithm).__name__)


def resolve_algorithms(
    algorithms: Sequence[Algorithm | str] | Mapping[str, Algorithm | str],
) -> dict[str, Algorithm]:
    """Algorithms by name. Raises ValueError for none, an unknown one, or two of one name."""
    if isinstance(algorithms, Mapping):
        found = {str(name): by_name(algorithm) for name, algorithm in algorithms.items()}
    else:
        one = isinstance(algorithms, str) or hasattr(algorithms, "move")
        found = {}
        for given in [algorithms] if one else list(algorithms):
            algorithm = by_name(given)
            name = given if isinstance(given, str) else name_of(algorithm)
            if name in found:
                raise ValueError(
                    f"two algorithms are called {name!r}: give them names, as "
                    f"{{'first': …, 'second': …}}."
                )
            found[name] = algorithm
    if not found:
        raise ValueError("algorithms is empty: give at least one, e.g. [EM(), SQUAREM()].")
    return found
