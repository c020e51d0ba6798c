"""The two ways to take one pass over the data. They agree to rounding.

*Whitened*: residuals y = W x − W μ of every component, then their sums. Safe for tight components
far from the center.
*Natural*: the log-joint is linear in features φ(x) that do not depend on the mixture, so a pass is
two matrix products. Faster, and as good where second moments about the center keep enough digits.

Rows come as columns of x (d, b), already centered.
"""

from __future__ import annotations

from typing import NamedTuple

import jax

from ..data.rows import SMALL
from ..mixture.mixture import Mixture
from .natural import Natural, natural_is_safe
from .whitened import Whitened

KERNELS = {"whitened": Whitened, "natural": Natural}


class Choice(NamedTuple):
    """Which kernel takes a pass, and for how many mixtures side by side (under vmap). `natural`, a
    boolean that they share, decides between the two kernels if it is given."""

    name: str = "auto"
    lanes: int = 1
    natural: jax.Array | None = None


def resolve_kernel(name: str, n: int) -> str:
    """The kernel's name as far as n rows settle it: "auto" is whitened for few rows, where both
    kernels are quick."""
    return "whitened" if name == "auto" and n <= SMALL else name


def with_kernel(kernel: str | Choice, mixture: Mixture, n: int, run):
    """run(kernel) for the kernel that was chosen, or under "auto" for the one the rule picks:

    whitened for n ≤ 4096 rows; else natural where `natural_is_safe`, and whitened where it is not.
    Under vmap, "auto" beyond 4096 rows computes both: name one there.
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
