"""Gradient ascent by any optax optimizer, on the objective that EM climbs."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..internal import checks
from ..internal.trees import where
from ..mixture.coordinates import COORDINATES
from ..mixture.mixture import Mixture
from ..objective.log_likelihood import expected, statistics_of_gradient
from ..objective.prior import Prior, log_prior
from ..objective.statistics import Statistics


class _GradientState(NamedTuple):
    base: Mixture
    offsets: Mixture
    optimizer: Any
    age: jax.Array


class At(NamedTuple):
    """Where a gradient was taken, for optax transformations that take it as extra argument `at`."""

    mixture: Mixture
    prior: Prior | None
    coordinates: str


@dataclasses.dataclass(frozen=True, init=False)
class Gradient:
    """Gradient ascent on ℓ + log prior by an optax optimizer, which minimizes −objective / Σ mass.

    Args:
      optimizer: an optax GradientTransformation; or a factory such as `optax.adam`, with its
        arguments as keywords.
      coordinates: what the optimizer moves. "relative" (default): units of the current components,
        which makes a step independent of the data's units. The others keep the means as they are
        and move, in the data's units, "leaves": the mixture's leaves; "precision", "covariance":
        the log-Cholesky factor of Σ⁻¹, of Σ; "square-root": the symmetric root of Σ. See
        `jaxgmm.coordinates`.
      rebase_every: relative coordinates are taken anew about the current components every so many
        steps; None keeps those of the start. A line search or L-BFGS starts with an empty memory
        then, since it belongs to the old frame; any other optimizer keeps its state, since its
        moments are in standard deviations and its schedule must go on.
      arguments: for a factory.

    Optimizers with a line search (`optax.lbfgs()`) count one pass for each trial, and the accepted
    trial's value and gradient are used again: a step whose first trial is accepted makes one pass.
    If a line search ends in a lower objective, the step is not taken and its memory is emptied.

    optax's transformations are closures without equality: reuse the object `Gradient(tx)` to avoid
    compiling again, or give the factory, `Gradient(optax.adam, learning_rate=0.05)`, which is equal
    by value.

    Raises:
      ValueError: for something that is not an optimizer, unknown coordinates, or arguments that are
        not hashable.

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> found = jaxgmm.fit(x, start, jaxgmm.Gradient(optax.lbfgs), tolerance=1e-7)
    >>> bool(found.converged)
    True
    >>> bool(abs(found.objective - jaxgmm.fit(x, start).objective) < 0.1)
    True
    >>> jaxgmm.Gradient(optax.adam, learning_rate=0.05, coordinates="precision").name
    'adam(learning_rate=0.05)'
    """

    optimizer: Any
    arguments: tuple[tuple[str, Any], ...]
    coordinates: str
    rebase_every: int | None

    def __init__(
        self,
        optimizer,
        *,
        coordinates: str = "relative",
        rebase_every: int | None = 20,
        **arguments,
    ):
        checks.choice(coordinates, "coordinates", COORDINATES)
        if rebase_every is not None:
            checks.whole(rebase_every, "rebase_every", 1)
        is_transformation = isinstance(optimizer, optax.GradientTransformation)
        if not is_transformation and not callable(optimizer):
            raise ValueError(
                f"{optimizer!r} is not an optax optimizer: pass e.g. optax.lbfgs(), or a factory "
                "with its arguments, e.g. Gradient(optax.adam, learning_rate=0.05)."
            )
        if is_transformation and arguments:
            raise ValueError(
                f"arguments {sorted(arguments)} go with a factory such as optax.adam, not with an "
                "optimizer that is already made."
            )
        for name, value in (
            ("optimizer", optimizer), ("arguments", tuple(sorted(arguments.items()))),
            ("coordinates", coordinates), ("rebase_every", rebase_every),
        ):  # fmt: skip
            object.__setattr__(self, name, value)
        checks.algorithm(self)
        try:
            made = self._made
        except TypeError as error:
            raise ValueError(f"{optimizer!r} cannot be made from {arguments}: {error}.") from None
        if not isinstance(made, optax.GradientTransformation):
            raise ValueError(f"{optimizer!r} did not make an optax optimizer.")

    @property
    def _made(self):
        if isinstance(self.optimizer, optax.GradientTransformation):
            return self.optimizer
        return self.optimizer(**dict(self.arguments))

    @property
    def _transformation(self):
        return optax.with_extra_args_support(self._made)

    @property
    def name(self) -> str:
        """How tables call it: a factory's name with its arguments."""
        if isinstance(self.optimizer, optax.GradientTransformation):
            return type(self).__name__
        arguments = ", ".join(f"{name}={value}" for name, value in self.arguments)
        return self.optimizer.__name__ + (f"({arguments})" if arguments else "")

    def forward_passes(self, steps, passes):
        """How many of a fit's passes needed the log-likelihood alone: the trials of a line search
        that keeps no gradient."""
        search = self._search
        blind = search is not None and search.gradient is None
        return passes - steps - 1 if blind else 0 * passes

    @property
    def searches(self) -> bool:
        """Whether the optimizer searches along a line, so that a step may take several passes."""
        return self._search is not None

    @property
    def _search(self) -> _LineSearch | None:
        """What the optimizer's state has of a line search, as shapes."""
        state = jax.eval_shape(self._transformation.init, {"x": np.zeros(1, np.float32)})
        return _line_search(state)

    def init(self, mixture: Mixture, statistics: Statistics) -> _GradientState:
        """Zero offsets from the start."""
        offsets = jax.tree.map(jnp.zeros_like, mixture)
        return _GradientState(mixture, offsets, self._transformation.init(offsets), jnp.int32(0))

    def move(
        self, mixture: Mixture, state: _GradientState, statistics: Statistics, evaluate, prior
    ):
        """One update of the optimizer."""
        coordinates, transformation = COORDINATES[self.coordinates], self._transformation
        total = jnp.sum(statistics.mass)

        def mixture_at(offsets):
            return coordinates.place(state.base, coordinates.local(state.base, offsets))

        def loss(offsets, at=None):  # optax hands every extra argument to the loss too
            candidate = mixture_at(offsets)
            return -(evaluate(candidate).log_likelihood + log_prior(candidate, prior)) / total

        def known_loss(offsets):
            """The loss near the current mixture, to first order, from statistics at hand."""
            candidate = mixture_at(offsets)
            return -(expected(candidate, mixture, statistics) + log_prior(candidate, prior)) / total

        value = -(statistics.log_likelihood + log_prior(mixture, prior)) / total
        gradient = jax.grad(known_loss)(state.offsets)
        updates, optimizer = transformation.update(
            gradient, state.optimizer, state.offsets, value=value, grad=gradient, value_fn=loss,
            at=At(mixture, prior, self.coordinates),
        )  # fmt: skip
        # optax makes some arrays in JAX's default dtype, whatever that of the parameters
        optimizer = optax.tree.cast_like(optimizer, state.optimizer)
        offsets = optax.tree.cast_like(optax.apply_updates(state.offsets, updates), state.offsets)
        moved = mixture_at(offsets)

        search = _line_search(optimizer)
        if search is None:
            passes, sums, rejected = 1, evaluate(moved), jnp.array(False)
        elif search.gradient is None:
            passes, sums = search.trials + 1, evaluate(moved)
            rejected = _worse(search.value, value)
        else:
            local = coordinates.local(state.base, offsets)
            climbed = jax.grad(lambda o: log_prior(mixture_at(o), prior))(offsets)
            slope = jax.tree.map(lambda g, p: -total * g - p, search.gradient, climbed)
            slope = coordinates.local_gradient(state.base, offsets, slope)
            sums = statistics_of_gradient(local, slope, total)
            likelihood = -total * search.value - log_prior(moved, prior)
            sums = dataclasses.replace(sums, log_likelihood=likelihood)
            passes, rejected = search.trials, _worse(search.value, value)

        moved, sums = where(rejected, (mixture, statistics), (moved, sums))
        age = state.age + 1
        renew = rejected
        if coordinates.follow and self.rebase_every is not None:
            renew |= age % self.rebase_every == 0
        fresh = jax.tree.map(jnp.zeros_like, offsets)
        remembers = (
            search is not None or optax.tree.get(optimizer, "diff_params_memory") is not None
        )
        restarted = transformation.init(fresh) if remembers else optimizer
        state = where(
            renew,
            _GradientState(moved, fresh, restarted, age),
            _GradientState(state.base, offsets, optimizer, age),
        )
        return moved, state, sums, passes


class _LineSearch(NamedTuple):
    trials: jax.Array
    value: jax.Array
    gradient: Mixture | None


def _line_search(optimizer) -> _LineSearch | None:
    """What an optax line search left in the optimizer's state, or None if there is none."""
    trials = optax.tree.get(optimizer, "num_linesearch_steps")
    if trials is None:
        return None
    value, gradient = optax.tree.get(optimizer, "value"), optax.tree.get(optimizer, "grad")
    return _LineSearch(trials, value, gradient)


def _worse(new: jax.Array, old: jax.Array) -> jax.Array:
    """Whether a line search gave up at a higher loss (optax then takes the last trial); its own
    slack, 1e-6 of the value, is rounding."""
    return ~(new <= old + 1e-6 * jnp.abs(old))
