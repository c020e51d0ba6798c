"""`best`: the best of many fits of one model, which differ in their starts.

Fits that differ in the family or in the number of components are compared in `choice_of_k.py`.
"""

from __future__ import annotations

import enum
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..fitting.result import Fit
from ..fitting.status import Status
from ..internal import checks, forks


def best_lane(status: Any, objective: Any, spurious: Any = False, xp: Any = np) -> tuple[Any, Any]:
    """Return the index of the best lane, and which lanes did not fail, as booleans (lanes,).

    The best lane has the highest objective among the lanes that neither failed nor are spurious;
    where there are none, among those that did not fail; and where all failed, among all. `xp` is
    numpy or jax.numpy.
    """
    objective = xp.where(xp.isnan(objective), -xp.inf, objective)
    usable = status != Status.NONFINITE
    usable &= (status != Status.DEGENERATE) & (objective > -xp.inf)
    sound = usable & ~xp.asarray(spurious)
    allowed = xp.where(xp.any(sound), sound, xp.where(xp.any(usable), usable, True))
    return xp.argmax(xp.where(allowed, objective, -xp.inf)), usable


class Flaw(enum.IntEnum):
    """What is wrong with the best of many fits; a higher value is worse."""

    NONE = 0
    SPURIOUS = 1
    FAILED = 2


FLAWS = {
    Flaw.SPURIOUS: "every fit has a component that has hardly any rows or is nearly singular: do "
    "not trust the best of them.",
    Flaw.FAILED: "every fit failed (see status): do not trust the best of them.",
}


def best(fits: Fit) -> Fit:
    """Return the fit with the highest objective in a batch of fits.

    Args:
      fits: a `Fit` in which every field has one leading axis of lanes, as from `jax.vmap`. For more
        axes use jax.vmap(best).

    Returns:
      One `Fit`. A fit that ended NONFINITE or DEGENERATE is returned only if all fits failed.

    Warns:
      UserWarning: where every fit failed.

    Raises:
      ValueError: for a fit that is not batched.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> fit = lambda key: jaxgmm.fit(x, jaxgmm.initialize(key, x, 2))
    >>> fits = jax.vmap(fit)(jax.random.split(jax.random.key(0), 4))
    >>> bool(jaxgmm.best(fits).objective == fits.objective.max())
    True
    """
    forks.raise_if_forked()
    if not isinstance(fits, Fit):
        raise ValueError("best needs a batch of fits, as one Fit; for a sweep call its own best().")
    if jnp.ndim(fits.status) != 1:
        raise ValueError(
            f"best needs a batch of fits along one axis: status has shape {jnp.shape(fits.status)}."
        )
    index, usable = best_lane(fits.status, fits.objective, xp=jnp)
    if not checks.traced(usable) and not bool(jnp.any(usable)):
        warnings.warn(FLAWS[Flaw.FAILED], stacklevel=2)
    return jax.tree.map(lambda leaf: leaf[index], fits)
