"""The two kernels that evaluate a block of rows, and the choice between them.

The whitened kernel computes the residuals y = W x − W μ of every component, and their sums. It is
accurate for narrow components far from the center. The natural kernel uses that the log-joint is
linear in features φ(x) that do not depend on the mixture, so that a pass is two matrix products. It
is faster, and as accurate where second moments about the center keep enough digits. Where both are
accurate, their results agree to rounding.

Both take a block as columns x (d, b) that are already centered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax

from ..data.rows import WHITENED_UP_TO_ROWS
from ..mixture.mixture import Mixture
from .natural import Natural, natural_is_safe
from .whitened import Whitened

KERNELS: dict[str, type[Whitened] | type[Natural]] = {"whitened": Whitened, "natural": Natural}

Result = TypeVar("Result")


class Choice(NamedTuple):
    """The kernel of a pass, and the number of lanes.

    `natural`, a boolean that all lanes share, decides between the kernels unless it is None.
    """

    name: str = "auto"
    lanes: int = 1
    natural: jax.Array | None = None


def resolve_kernel(name: str, n: int) -> str:
    """Return the kernel's name, with "auto" replaced by "whitened" for few rows.

    Both kernels are fast there. For many rows, "auto" remains "auto".
    """
    return "whitened" if name == "auto" and n <= WHITENED_UP_TO_ROWS else name


def with_kernel(
    kernel: str | Choice, mixture: Mixture, n: int, run: Callable[[Whitened | Natural], Result]
) -> Result:
    """Return run(kernel) for the chosen kernel of this mixture.

    "auto" selects the whitened kernel for n ≤ 4096 rows. For more rows it selects the natural one
    where `natural_is_safe`, and otherwise the whitened one. Under vmap "auto" then computes both,
    so batches of many rows should name a kernel.
    """
    choice = kernel if isinstance(kernel, Choice) else Choice(kernel)
    name, natural = choice.name, choice.natural
    if natural is None:
        name = resolve_kernel(name, n)
        if name in KERNELS:
            return run(KERNELS[name](mixture, choice.lanes))
        natural = natural_is_safe(mixture)
    return jax.lax.cond(
        natural,
        lambda m: run(Natural(m, choice.lanes)),
        lambda m: run(Whitened(m, choice.lanes)),
        mixture,
    )
