"""`Settings`: the arguments that `fit`, `sweep` and `compare` share, validated in one place."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from jax.typing import ArrayLike

from ..algorithms.protocol import Algorithm
from ..internal import checks
from ..kernels.choice import KERNELS, resolve_kernel
from .loop import LoopSettings
from .stopping import STOPPING

LEAST_CAPACITY = 1024
MOST_STEPS = 10_000_000  # each step takes eight bytes of the history


def capacity(max_steps: int) -> int:
    """Return the length of a history for `max_steps`.

    Nearby values of `max_steps` have the same capacity, so that they share a compiled program.
    """
    return max(LEAST_CAPACITY, 1 << max_steps.bit_length())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Validated settings of a fit, as `fit` documents them.

    Attributes:
      algorithms: the algorithms that will run; `fit` and `sweep` have one.
      tolerance: threshold of the stopping rule.
      max_steps: largest number of steps.
      kernel: "auto", or a name in `KERNELS`.
      stopping: a name in `STOPPING`.
      callback: a function that the host calls, or None.

    Raises:
      ValueError: for an invalid setting.
    """

    algorithms: tuple[Algorithm, ...]
    tolerance: ArrayLike
    max_steps: int
    kernel: str
    stopping: str
    callback: Callable[..., object] | None = None

    def __post_init__(self) -> None:
        checks.not_negative(self.tolerance, "tolerance")
        # `whole` also accepts 3.0 and NumPy integers, and returns a plain int.
        max_steps = checks.whole(self.max_steps, "max_steps", 0, MOST_STEPS)
        object.__setattr__(self, "max_steps", max_steps)
        checks.callback(self.callback)
        checks.choice(self.kernel, "kernel", ("auto", *KERNELS))
        checks.choice(self.stopping, "stopping", STOPPING)
        for algorithm in self.algorithms:
            checks.algorithm(algorithm)

    def for_loop(
        self,
        algorithm: Algorithm,
        n: int,
        numbers: int,
        callback: Callable[..., object] | None = None,
    ) -> LoopSettings:
        """Return the static settings of a loop over n rows that runs one of the algorithms.

        `numbers` is the result of `residual_numbers`.
        """
        return LoopSettings(
            algorithm=algorithm,
            stopping=self.stopping,
            kernel=resolve_kernel(self.kernel, n, numbers),
            capacity=capacity(self.max_steps),
            callback=callback,
        )
