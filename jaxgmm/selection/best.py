"""The best of many fits."""

from __future__ import annotations

import enum
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from ..fitting.result import Fit
from ..fitting.status import Status
from ..internal import checks, forks


def best_lane(status, objective, doubtful=False, xp=np):
    """The index of the highest objective among lanes that did not fail and are not doubtful; among
    those that did not fail if there are no others; among all if all failed. And which did not."""
    objective = xp.where(xp.isnan(objective), -xp.inf, objective)
    usable = status != Status.NONFINITE
    usable &= (status != Status.DEGENERATE) & (objective > -xp.inf)
    sound = usable & ~xp.asarray(doubtful)
    allowed = xp.where(xp.any(sound), sound, xp.where(xp.any(usable), usable, True))
    return xp.argmax(xp.where(allowed, objective, -xp.inf)), usable


class Flaw(enum.IntEnum):
    """What is wrong with the best of many fits, the worse the higher."""

    NONE = 0
    SPURIOUS = 1
    FAILED = 2


FLAWS = {
    Flaw.SPURIOUS: "every fit has a component on hardly any rows, or nearly singular",
    Flaw.FAILED: "every fit failed (see status)",
}


def warn_of(flaw: Flaw) -> None:
    """Says so, at the caller's caller."""
    warnings.warn(f"{FLAWS[flaw]}: the best of them is not to be trusted.", stacklevel=3)


def best(fits: Fit) -> Fit:
    """The fit of highest objective in a batch (every field with one leading axis of lanes, as from
    `jax.vmap`; for more axes use jax.vmap(best)).

    A fit that ended NONFINITE or DEGENERATE is returned only if all did, with a warning.

    Raises ValueError for a fit that is not batched.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> climb = lambda key: jaxgmm.fit(x, jaxgmm.initialize(key, x, 2))
    >>> fits = jax.vmap(climb)(jax.random.split(jax.random.key(0), 4))
    >>> bool(jaxgmm.best(fits).objective == fits.objective.max())
    True
    """
    forks.refuse()
    if not isinstance(fits, Fit):
        raise ValueError("best needs a batch of fits, as one Fit; for a sweep call its own best().")
    if jnp.ndim(fits.status) != 1:
        raise ValueError(
            f"best needs a batch of fits along one axis: status has shape {jnp.shape(fits.status)}."
        )
    index, usable = best_lane(fits.status, fits.objective, xp=jnp)
    if not checks.traced(usable) and not bool(jnp.any(usable)):
        warn_of(Flaw.FAILED)
    return jax.tree.map(lambda leaf: leaf[index], fits)
