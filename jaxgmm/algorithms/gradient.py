"""Gradient ascent by any optax optimizer, on the objective that EM maximizes."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]  # optax ships no type information

from ..families.has_whitening_factor import HasWhiteningFactor
from ..internal import checks
from ..internal.trees import where
from ..mixture.coordinates import COORDINATES
from ..mixture.mixture import Mixture
from ..objective.log_likelihood import expected, statistics_of_gradient
from ..objective.objective_value import objective_value
from ..objective.prior import Prior, log_prior
from ..objective.statistics import Statistics
from .protocol import Evaluate


class _GradientState(NamedTuple):
    """The mixture is the one at `offsets` from `base`. `age` counts the moves."""

    base: Mixture
    offsets: Mixture
    optimizer: Any
    age: jax.Array


class At(NamedTuple):
    """The point of a gradient, for optax transformations that accept an extra argument `at`."""

    mixture: Mixture
    prior: Prior | None
    coordinates: str


@dataclasses.dataclass(frozen=True, init=False)
class Gradient:
    """Gradient ascent on ℓ + log prior by an optax optimizer.

    The optimizer minimizes −objective / Σ w, w being the row weights.

    Args:
      optimizer: an optax GradientTransformation, or a factory such as `optax.adam`, whose arguments
        are passed as keywords.
      coordinates: the parametrization that the optimizer updates. "relative" (default) uses units
        of the current components, which makes a step independent of the data's units. "augmented"
        differs from it by the metric of Hosseini & Sra, and is for the family "full" alone. All
        others depend on the data's units and use the means themselves, together with: the mixture's
        leaves ("leaves"); the log-Cholesky factor of Σ⁻¹ ("precision") or of Σ ("covariance"); the
        symmetric square root of Σ ("square-root"). See `jaxgmm.mixture.coordinates`.
      rebase_every: the number of steps after which relative coordinates are redefined by the
        current components; None keeps those of the start. A line search or L-BFGS then starts with
        an empty memory, because its memory belongs to the old coordinates. Any other optimizer
        keeps its state, because its moments are in standard deviations and its schedule must
        continue. Augmented coordinates are redefined at every step, and L-BFGS keeps its memory.
      arguments: the factory's arguments.

    An optimizer with a line search, such as `optax.lbfgs()`, makes one pass for each trial. The
    accepted trial's value and gradient are reused, so a step whose first trial is accepted makes
    one pass. (In a family whose leaves are not whitening factors, such as "VEV", the step makes one
    more.) If a line search ends at a lower objective, the step is rejected and the optimizer's
    memory is cleared.

    optax transformations are closures, which compare by identity. To avoid recompilation, reuse the
    object `Gradient(tx)`, or pass a factory: `Gradient(optax.adam, learning_rate=0.05)` compares by
    value.

    Raises:
      ValueError: if `optimizer` is not an optimizer, the coordinates are unknown, or the arguments
        are not hashable.

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
        optimizer: Any,
        *,
        coordinates: str = "relative",
        rebase_every: int | None = 20,
        **arguments: Any,
    ) -> None:
        checks.choice(coordinates, "coordinates", COORDINATES)
        if rebase_every is not None:
            checks.whole(rebase_every, "rebase_every", 1)
        is_transformation = isinstance(optimizer, optax.GradientTransformation)
        if not is_transformation and not callable(optimizer):
            raise ValueError(
                f"{optimizer!r} is not an optax optimizer: pass an optimizer, e.g. optax.lbfgs(), "
                "or a factory with its arguments, e.g. Gradient(optax.adam, learning_rate=0.05)."
            )
        if is_transformation and arguments:
            raise ValueError(
                f"arguments {sorted(arguments)} go with a factory such as optax.adam, not with a "
                "finished optimizer: pass the factory, or leave the arguments out."
            )
        for name, value in (
            ("optimizer", optimizer), ("arguments", tuple(sorted(arguments.items()))),
            ("coordinates", coordinates), ("rebase_every", rebase_every),
        ):  # fmt: skip
            object.__setattr__(self, name, value)
        checks.algorithm(self)
        try:
            built = self._build()
        except TypeError as error:
            raise ValueError(
                f"an optimizer cannot be made from {optimizer!r} and {arguments}: {error}."
            ) from None
        if not isinstance(built, optax.GradientTransformation):
            raise ValueError(
                f"{optimizer!r} did not make an optax optimizer: pass a factory that returns one, "
                "e.g. optax.adam."
            )

    def _build(self) -> Any:
        """Return the optax transformation, calling the factory if there is one."""
        if isinstance(self.optimizer, optax.GradientTransformation):
            return self.optimizer
        return self.optimizer(**dict(self.arguments))

    @property
    def _transformation(self) -> Any:
        return optax.with_extra_args_support(self._build())

    @property
    def name(self) -> str:
        """The name in tables: a factory's name with its arguments, else the class name."""
        if isinstance(self.optimizer, optax.GradientTransformation):
            return type(self).__name__
        arguments = ", ".join(f"{name}={value}" for name, value in self.arguments)
        return self.optimizer.__name__ + (f"({arguments})" if arguments else "")

    def forward_passes(self, steps: Any, passes: Any) -> Any:
        """Return how many of a fit's passes needed only the log-likelihood.

        These are the trials of a line search that does not keep the gradient.
        """
        search = self._search
        value_only = search is not None and search.gradient is None
        return passes - steps - 1 if value_only else 0 * passes

    @property
    def searches(self) -> bool:
        """Whether the optimizer has a line search, so that a step may make several passes."""
        return self._search is not None

    @property
    def _search(self) -> _LineSearch | None:
        """The line search in the optimizer's state, as shapes; None if there is none."""
        state = jax.eval_shape(self._transformation.init, {"x": np.zeros(1, np.float32)})
        return _line_search(state)

    def init(self, mixture: Mixture, statistics: Statistics) -> _GradientState:
        """Return zero offsets from the start, and the optimizer's initial state."""
        coordinates: Any = COORDINATES[self.coordinates]
        offsets = coordinates.zero(mixture)
        return _GradientState(mixture, offsets, self._transformation.init(offsets), jnp.int32(0))

    def move(
        self,
        mixture: Mixture,
        state: _GradientState,
        statistics: Statistics,
        evaluate: Evaluate,
        prior: Prior | None,
    ) -> tuple[Mixture, _GradientState, Statistics, jax.Array | int]:
        """Make one update of the optimizer."""
        coordinates: Any = COORDINATES[self.coordinates]
        transformation = self._transformation
        total = jnp.sum(statistics.mass)

        def mixture_at(offsets: Mixture) -> Mixture:
            return coordinates.place(state.base, coordinates.local(state.base, offsets))

        # optax passes every extra argument of `update` to the loss too.
        def loss(offsets: Mixture, at: At | None = None) -> jax.Array:
            candidate = mixture_at(offsets)
            return -objective_value(candidate, evaluate(candidate), prior) / total

        def first_order_loss(offsets: Mixture) -> jax.Array:
            """The loss near the current mixture, to first order, without a pass."""
            candidate = mixture_at(offsets)
            return -(expected(candidate, mixture, statistics) + log_prior(candidate, prior)) / total

        value = -objective_value(mixture, statistics, prior) / total
        gradient = jax.grad(first_order_loss)(state.offsets)
        updates, optimizer = transformation.update(
            gradient, state.optimizer, state.offsets, value=value, grad=gradient, value_fn=loss,
            at=At(mixture, prior, self.coordinates),
        )  # fmt: skip
        # optax creates some arrays in JAX's default dtype, whatever the parameters' dtype is.
        optimizer = optax.tree.cast_like(optimizer, state.optimizer)
        offsets = optax.tree.cast_like(optax.apply_updates(state.offsets, updates), state.offsets)
        moved = mixture_at(offsets)

        search = _line_search(optimizer)
        passes: jax.Array | int
        if search is None:
            passes, sums, rejected = 1, evaluate(moved), jnp.array(False)
        elif search.gradient is None or not isinstance(mixture.covariance, HasWhiteningFactor):
            passes, sums = search.trials + 1, evaluate(moved)
            rejected = _is_worse(search.value, value)
        else:
            # The line search knows the gradient at the accepted trial, hence the statistics there.
            local = coordinates.local(state.base, offsets)
            prior_gradient = jax.grad(lambda o: log_prior(mixture_at(o), prior))(offsets)
            gradient = jax.tree.map(lambda g, p: -total * g - p, search.gradient, prior_gradient)
            gradient = coordinates.local_gradient(state.base, offsets, gradient)
            sums = statistics_of_gradient(local, gradient, total)
            likelihood = -total * search.value - log_prior(moved, prior)
            sums = dataclasses.replace(sums, log_likelihood=likelihood)
            passes, rejected = search.trials, _is_worse(search.value, value)

        moved, sums = where(rejected, (mixture, statistics), (moved, sums))
        state = _GradientState(state.base, offsets, optimizer, state.age + 1)
        return moved, self._rebase(state, moved, rejected), sums, passes

    def _rebase(
        self, state: _GradientState, mixture: Mixture, rejected: jax.Array
    ) -> _GradientState:
        """Return the state with `mixture` as its new base, if the base has to change now."""
        coordinates: Any = COORDINATES[self.coordinates]
        due = rejected
        if coordinates.follow and self.rebase_every is not None:
            due |= state.age % self.rebase_every == 0
        zeros = jax.tree.map(jnp.zeros_like, state.offsets)
        has_memory = (
            _line_search(state.optimizer) is not None
            or optax.tree.get(state.optimizer, "diff_params_memory") is not None
        )
        restarted = self._transformation.init(zeros) if has_memory else state.optimizer
        if coordinates.transports:
            optimizer = _transported(state.optimizer, state.offsets)
            state = _GradientState(mixture, zeros, optimizer, state.age)
        return where(due, _GradientState(mixture, zeros, restarted, state.age), state)


def _transported(optimizer: Any, offsets: Mixture) -> Any:
    """Return an optimizer's state at a new base, to which `offsets` led.

    Vectors keep their entries. L-BFGS remembers its last parameters, to compute its last step: they
    are now at −offsets from the new base.
    """
    last = optax.tree.get(optimizer, "params")
    if last is None:
        return optimizer
    return optax.tree.set(optimizer, params=jax.tree.map(jnp.subtract, last, offsets))


class _LineSearch(NamedTuple):
    """The trials of an optax line search, and the loss at the accepted one with its gradient."""

    trials: jax.Array
    value: jax.Array
    gradient: Mixture | None


def _line_search(optimizer: Any) -> _LineSearch | None:
    """Return the line search's results in an optimizer's state, or None if there are none."""
    trials = optax.tree.get(optimizer, "num_linesearch_steps")
    if trials is None:
        return None
    value, gradient = optax.tree.get(optimizer, "value"), optax.tree.get(optimizer, "grad")
    return _LineSearch(trials, value, gradient)


def _is_worse(new: jax.Array, old: jax.Array) -> jax.Array:
    """Return whether a line search failed and ended at a higher loss.

    optax accepts the last trial when its line search fails. The tolerance, 1e-6 of the value, is
    that of optax's line search, and allows for rounding.
    """
    return ~(new <= old + 1e-6 * jnp.abs(old))
