"""Gradient ascent by any optax optimiser, on the objective that EM climbs."""

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


class _State(NamedTuple):
    base: Mixture
    offsets: Mixture
    optimiser: Any
    age: jax.Array


class At(NamedTuple):
    """Where a gradient was taken, for optax transformations that take it as extra argument `at`."""

    mixture: Mixture
    prior: Prior | None
    coordinates: str


@dataclasses.dataclass(frozen=True, init=False)
class Gradient:
    """Gradient ascent on ℓ + log prior by an optax optimiser, which minimises −objective / Σ mass.

    Args:
      optimiser: an optax GradientTransformation; or a factory such as `optax.adam`, with its
        arguments as keywords.
      coordinates: what the optimiser moves. "relative" (default): units of the current components,
        which makes a step independent of the data's units. The others keep the means as they are
        and move, in the data's units, "leaves": the mixture's leaves; "precision", "covariance":
        the log-Cholesky factor of Σ⁻¹, of Σ; "square-root": the symmetric root of Σ. See
        `jaxgmm.coordinates`.
      rebase_every: relative coordinates are taken anew about the current components every so many
        steps; None keeps those of the start. A line search or L-BFGS starts with an empty memory
        then, since it belongs to the old frame; any other optimiser keeps its state, since its
        moments are in standard deviations and its schedule must go on.
      arguments: for a factory.

    Optimisers with a line search (`optax.lbfgs()`) count one pass for each trial, and the accepted
    trial's value and gradient are used again: a step whose first trial is accepted makes one pass.
    If a line search ends in a lower objective, the step is not taken and its memory is emptied.

    optax's transformations are closures without equality: reuse the object `Gradient(tx)` to avoid
    compiling again, or give the factory, `Gradient(optax.adam, learning_rate=0.05)`, which is equal
    by value.

    Raises:
      ValueError: for something that is not an optimiser, unknown coordinates, or arguments that are
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

    optimiser: Any
    arguments: tuple[tuple[str, Any], ...]
    coordinates: str
    rebase_every: int | None

    def __init__(
        self,
        optimiser,
        *,
        coordinates: str = "relative",
        rebase_every: int | None = 20,
        **arguments,
    ):
        checks.choice(coordinates, "coordinates", COORDINATES)
        if rebase_every is not None:
            checks.whole(rebase_every, "rebase_every", 1)
        is_transformation = isinstance(optimiser, optax.GradientTransformation)
        if not is_transformation and not callable(optimiser):
            raise ValueError(
                f"{optimiser!r} is not an optax optimiser: pass e.g. optax.lbfgs(), or a factory "
                "with its arguments, e.g. Gradient(optax.adam, learning_rate=0.05)."
            )
        if is_transformation and arguments:
            raise ValueError(
                f"arguments {sorted(arguments)} go with a factory such as optax.adam, not with an "
                "optimiser that is already made."
            )
        for name, value in (
            ("optimiser", optimiser), ("arguments", tuple(sorted(arguments.items()))),
            ("coordinates", coordinates), ("rebase_every", rebase_every),
        ):  # fmt: skip
            object.__setattr__(self, name, value)
        checks.algorithm(self)
        try:
            made = self._made
        except TypeError as error:
            raise ValueError(f"{optimiser!r} cannot be made from {arguments}: {error}.") from None
        if not isinstance(made, optax.GradientTransformation):
            raise ValueError(f"{optimiser!r} did not make an optax optimiser.")

    @property
    def _made(self):
        if isinstance(self.optimiser, optax.GradientTransformation):
            return self.optimiser
        return self.optimiser(**dict(self.arguments))

    @property
    def _transformation(self):
        return optax.with_extra_args_support(self._made)

    @property
    def name(self) -> str:
        """How tables call it: a factory's name with its arguments."""
        if isinstance(self.optimiser, optax.GradientTransformation):
            return type(self).__name__
        arguments = ", ".join(f"{name}={value}" for name, value in self.arguments)
        return self.optimiser.__name__ + (f"({arguments})" if arguments else "")

    def forward_passes(self, steps, passes):
        """How many of a fit's passes needed the log-likelihood alone: the trials of a line search
        that keeps no gradient."""
        search = self._search
        blind = search is not None and search.gradient is None
        return passes - steps - 1 if blind else 0 * passes

    @property
    def searches(self) -> bool:
        """Whether the optimiser searches along a line, so that a step may take several passes."""
        return self._search is not None

    @property
    def _search(self) -> _LineSearch | None:
        """What the optimiser's state has of a line search, as shapes."""
        state = jax.eval_shape(self._transformation.init, {"x": np.zeros(1, np.float32)})
        return _line_search(state)

    def init(self, mixture: Mixture, statistics: Statistics) -> _State:
        """Zero offsets from the start."""
        offsets = jax.tree.map(jnp.zeros_like, mixture)
        return _State(mixture, offsets, self._transformation.init(offsets), jnp.int32(0))

    def move(self, mixture: Mixture, state: _State, statistics: Statistics, evaluate, prior):
        """One update of the optimiser."""
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
        updates, optimiser = transformation.update(
            gradient, state.optimiser, state.offsets, value=value, grad=gradient, value_fn=loss,
            at=At(mixture, prior, self.coordinates),
        )  # fmt: skip
        # optax makes some arrays in JAX's default dtype, whatever that of the parameters
        optimiser = optax.tree.cast_like(optimiser, state.optimiser)
        offsets = optax.tree.cast_like(optax.apply_updates(state.offsets, updates), state.offsets)
        moved = mixture_at(offsets)

        search = _line_search(optimiser)
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
            search is not None or optax.tree.get(optimiser, "diff_params_memory") is not None
        )
        restarted = transformation.init(fresh) if remembers else optimiser
        state = where(
            renew, _State(moved, fresh, restarted, age), _State(state.base, offsets, optimiser, age)
        )
        return moved, state, sums, passes


class _LineSearch(NamedTuple):
    trials: jax.Array
    value: jax.Array
    gradient: Mixture | None


def _line_search(optimiser) -> _LineSearch | None:
    """What an optax line search left in the optimiser's state, or None if there is none."""
    trials = optax.tree.get(optimiser, "num_linesearch_steps")
    if trials is None:
        return None
    value, gradient = optax.tree.get(optimiser, "value"), optax.tree.get(optimiser, "grad")
    return _LineSearch(trials, value, gradient)


def _worse(new: jax.Array, old: jax.Array) -> jax.Array:
    """Whether a line search gave up at a higher loss (optax then takes the last trial); its own
    slack, 1e-6 of the value, is rounding."""
    return ~(new <= old + 1e-6 * jnp.abs(old))
