"""The three kernels that evaluate a block of complete rows, and the choice among them.

The whitened kernel computes the residuals y = W x − W μ of every component, and their sums. It is
accurate for narrow components far from the center. The natural kernel uses that the log-joint is
linear in features φ(x) that do not depend on the mixture, so that a pass is two matrix products. It
is faster, and as accurate where second moments about the center keep enough digits. The double
kernel is the natural one in float64, for float32 mixtures. Where they are accurate, their results
agree to rounding; `rounding_bounds.py` says where that is.

All take a block as columns x (d, b) that are already centered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from ..data.columns import Columns
from ..data.row_counts import WHITENED_UP_TO_ROWS, bucket
from ..mixture.mixture import Mixture
from ..numerics.float64 import float64_is_fast
from .conditional import Conditional
from .double import Double
from .natural_low_rank import natural_kernel
from .protocol import Kernel
from .rounding_bounds import double_is_safe, rounding, safe_rounding
from .whitened_tiles import whitened_kernel

KERNELS: dict[str, Callable[[Mixture, int], Kernel]] = {
    "whitened": whitened_kernel, "natural": natural_kernel, "double": Double
}  # fmt: skip
# For up to WHITENED_UP_TO_ROWS rows, "auto" means "whitened" unless its residuals are more numbers
# than this. A pass takes it 8 ms there, on one CPU core, and natural 1 ms.
WHITENED_UP_TO_NUMBERS = 1 << 22

Result = TypeVar("Result")


class Choice(NamedTuple):
    """The kernel of a pass, and the number of lanes.

    `position`, which all lanes share, chooses among the kernels (see `kernel_position`) unless it
    is None.
    """

    name: str = "auto"
    lanes: int = 1
    position: jax.Array | None = None


def residual_numbers(mixture: Mixture) -> int:
    """Return how much work the whitened kernel does for a row, as a number of residuals.

    It is the number of entries (k d) of the means, and more in families whose natural kernel saves
    more work than others' do.
    """
    return mixture.means.size * mixture.covariance.whitened_work


def resolve_kernel(name: str, n: int, numbers: int) -> str:
    """Return the kernel's name, with "auto" replaced by "whitened" where a pass is little work.

    `numbers` is the result of `residual_numbers`. All kernels are fast there, and one takes less
    time to compile than several. For more work, "auto" remains "auto".
    """
    rows = bucket(n)  # so that padding does not change the kernel
    little = rows <= WHITENED_UP_TO_ROWS and rows * numbers <= WHITENED_UP_TO_NUMBERS
    return "whitened" if name == "auto" and little else name


def kernel_position(of_natural: Any, n_features: int, most: float) -> Any:
    """Return the position of the fastest kernel that is accurate: natural, double, whitened.

    Args:
      of_natural: the natural kernel's `rounding`, an array of JAX or of NumPy.
      n_features: the number of features d.
      most: the largest `rounding` at which the natural kernel may be used.
    """
    return (1 - (of_natural <= most)) * (2 - double_is_safe(of_natural, n_features))


def position_of(mixture: Mixture) -> jax.Array:
    """Return the `kernel_position` of a mixture."""
    return kernel_position(rounding(mixture), mixture.n_features, safe_rounding(mixture))


def check_kernel(name: str, columns: Columns | None) -> None:
    """Raise ValueError for a kernel that has no means to handle rows not fully observed."""
    if columns is not None and columns.partial and name not in ("auto", "whitened"):
        raise ValueError(
            f'kernel="{name}" needs rows without missing values and noise: use "auto".'
        )


def with_kernel(
    kernel: str | Choice,
    mixture: Mixture,
    n: int,
    run: Callable[[Kernel], Result],
    columns: Columns | None = None,
) -> Result:
    """Return run(kernel) for the chosen kernel of this mixture.

    "auto" selects the whitened kernel where a pass is little work (see `resolve_kernel`). For more,
    it selects the first of `candidates` that is accurate (see `kernel_position`). Under vmap
    "auto" then computes all of them, so batches of many rows should name a kernel. Rows that are
    not fully observed, as `columns` says, have a kernel of their own; pass the `measured` mixture.
    """
    choice = kernel if isinstance(kernel, Choice) else Choice(kernel)
    if columns is not None and columns.partial:
        return run(Conditional(mixture, choice.lanes, columns))
    name, position = choice.name, choice.position
    if position is None:
        name = resolve_kernel(name, n, residual_numbers(mixture))
        if name in KERNELS:
            return run(KERNELS[name](mixture, choice.lanes))
        position = position_of(mixture)
    branches = [
        lambda m, make=KERNELS[name]: run(make(m, choice.lanes)) for name in candidates(mixture)
    ]
    # Where there is no double kernel, its position and the one after it are the whitened kernel's.
    return jax.lax.switch(position, branches, mixture)


def candidates(mixture: Mixture) -> tuple[str, ...]:
    """Return the kernels among which "auto" chooses, from the fastest to the most accurate.

    The double kernel is one of them for float32 mixtures whose layout it suits, on devices that are
    fast in float64.
    """
    single = mixture.dtype == jnp.float32 and float64_is_fast()
    double = ("double",) if single and mixture.frame.double_pays else ()
    return ("natural", *double, "whitened")
