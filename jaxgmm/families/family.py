"""The contract of a covariance family: which covariances a mixture may have.

A family is one class: a frozen dataclass of arrays, registered as a pytree. Every value of every
leaf is a valid covariance, so gradients and optax updates can be applied to a mixture directly.
Each leaf has a leading axis of k, or of 1 if all components share it. `frame` returns the layout
with which the rest of the library computes (see `layout.py`). A subclass must define `frame` and
`identity`. All other methods have defaults, which a subclass may replace by closed forms.

A *local* describes another member of the family relative to this one. Zero describes this member
itself. The M-step, SQUAREM, relative coordinates and the certificate use only locals, because
numbers near zero keep their digits, while the difference of two members would lose them.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ..numerics.host_factors import lower_factor
from ..numerics.unit_matrix import unit_matrix
from .fisher_scoring import dense_layout_of, information_diagonal, scoring_step
from .layout import Layout, layout_of

Local = Any  # a pytree of arrays, in a form that its family chooses

# How often `likeliest` repeats an M-step that is not a closed form.
MOST_REPEATS = 100


class Family(abc.ABC):
    """Covariances of k components in d features. Subclasses are frozen dataclasses.

    A family of your own is a subclass with the decorator `jaxgmm.family`, which describes how. It
    defines `frame` and `identity`; `jaxgmm.check_family` says whether they are right.

    Attributes:
      letters: the three letters by which mclust names the family, or "".
      shared: whether all components have one covariance, so that the layout pools moments.
      whitened_work: the cost of a residual in the whitened kernel, relative to other families.
        Where it is larger, a faster kernel is worth its compilation for fewer rows; see
        `kernels.choice.residual_numbers`.
    """

    letters: ClassVar[str] = ""
    shared: ClassVar[bool] = False
    whitened_work: ClassVar[int] = 1

    # ---- definition ---------------------------------------------------------------------------

    @classmethod
    @abc.abstractmethod
    def identity(cls, k: int, d: int, dtype: DTypeLike) -> Family:
        """Return unit covariances for k components in d dimensions, or a member near them."""

    @abc.abstractmethod
    def frame(self, d: int) -> Layout:
        """Return the layout of these covariances in d dimensions."""

    @classmethod
    def n_parameters(cls, k: Any, d: int) -> Any:
        """Return the number of free covariance parameters of k components.

        k is an int or an array of ints, and so is the result. By default it is the number of
        entries of the leaves.
        """
        one, two = (
            sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda n=n: cls._unit(n, d))))
            for n in (1, 2)
        )
        return one + (k - 1) * (two - one)

    def n_own_parameters(self, d: int) -> Any:
        """Return the number of parameters that a covariance does not share with others."""
        count = type(self).n_parameters
        return count(1, d) if self.frame(d).shared else count(2, d) - count(1, d)

    def shares_leaves(self, c: int) -> Any:
        """Return whether some of the c covariances share a leaf, which then depends on all."""
        return any(len(leaf) < c for leaf in jax.tree.leaves(self))

    @classmethod
    def _unit(cls, k: int, d: int) -> Family:
        return cls.identity(k, d, np.float32)

    @classmethod
    def depends_on_units(cls) -> bool:
        """Return whether a fit depends on the units in which the features are measured.

        It does unless the family contains every member with its features rescaled. Those are
        mclust's families with the letters ?EI, ?VI, ?EE and ?VV; of others it is not known.
        """
        return cls.letters[1:] not in ("EI", "VI", "EE", "VV")

    # ---- locals -------------------------------------------------------------------------------

    def maximize(self, moments: jax.Array, mass: jax.Array, d: int) -> tuple[Local, jax.Array]:
        """Return the member with the highest likelihood, as a local, and the gain.

        `moments` are the second moments of the rows about the new means, in the residual units of
        this member's layout, and `mass` (c,) is the sum of their weights. A covariance of mass 0
        does not count, and what the result says of it is ignored. The gain (c,) is the increase of
        N log|W| − ½ tr Σ⁻¹M for each covariance, in units of mass/2. For moments that are not
        positive definite the result is not finite, and no exception is raised. A family without a
        closed form may return any better member; by default a step of Fisher scoring.
        """
        return scoring_step(self, moments, mass, d)

    def likeliest(self, moments: jax.Array, mass: jax.Array, d: int) -> Local:
        """Return the likeliest of all members, as a local; `maximize` is a step towards it.

        Starts are made by it. By default it repeats `maximize`.
        """
        floor = (16 * jnp.finfo(moments.dtype).eps) ** 2 * jnp.sum(mass)

        def unfinished(state: tuple[Any, ...]) -> jax.Array:
            return (state[0] < MOST_REPEATS) & (state[3] > floor)

        def improve(state: tuple[Any, ...]) -> tuple[Any, ...]:
            number, member, moments, _ = state
            local, gain = member.maximize(moments, mass, d)
            moved = member.moved(local)
            moments = dense_layout_of(member, d).restate(moments, dense_layout_of(moved, d))
            return number + 1, moved, moments, jnp.sum(mass * gain)

        state = (jnp.int32(0), self, moments, jnp.full((), jnp.inf, moments.dtype))
        return self.between(jax.lax.while_loop(unfinished, improve, state)[1])

    def moved(self, local: Local) -> Family:
        """Return the member that a local describes. By default a local is added to the leaves."""
        return jax.tree.map(jnp.add, self, local)

    def between(self, other: Family) -> Local:
        """Return the local that describes another member: the inverse of `moved`."""
        return jax.tree.map(jnp.subtract, other, self)

    def combine(self, first: Local, second: Local) -> Local:
        """Return the local of self.moved(first).moved(second), accurate near zero."""
        return jax.tree.map(jnp.add, first, second)

    def coordinates(self, local: Local) -> Local:
        """Return the free numbers that describe a local, which are 0 for the member itself.

        By default they are those of the local itself.
        """
        return local

    def local_at(self, coordinates: Local) -> Local:
        """Return the local with these coordinates."""
        return coordinates

    def change(self, local: Local, d: int) -> tuple[jax.Array, jax.Array]:
        """Return T − I and log|T| − tr(T − I), for the factors T W of the member at `local`.

        T − I has the form of the layout's factors, and the second number is (c,). By default they
        are differences, which have an absolute error of eps. The gain is then accurate to about
        1e-7 in float32, so a fit that stops by EM's gain D needs a tolerance above that.
        """
        layout, new = dense_layout_of(self, d), dense_layout_of(self.moved(local), d)
        change = layout.relative(new) - unit_matrix(d, new.factor.dtype)[None]
        rise = new.log_determinant - layout.log_determinant
        return change, rise - jnp.trace(change, axis1=1, axis2=2)

    def gain(self, local: Local, moments: jax.Array, mass: jax.Array, d: int) -> jax.Array:
        """Return the gain (c,) of the member at `local`: see `maximize`."""
        change, bend = self.change(local, d)
        return self.frame(d).gain(change, bend, moments, jnp.where(mass > 0, mass, 1))

    def gradient(self, moments: jax.Array, mass: jax.Array, d: int) -> Local:
        """Return the gradient of N log|W| − ½ tr Σ⁻¹M at this member, by the coordinates.

        `moments` (M) are second moments about the current means, in the residual units of this
        member's layout, and `mass` (N) is (c,). By default it is by automatic differentiation.
        """
        layout = self.frame(d)

        def value(coordinates: Local) -> jax.Array:
            member = self.moved(self.local_at(coordinates))
            return layout.sum_covariances(layout.expected(member.frame(d), moments, mass))

        return jax.grad(value)(self.coordinates(self.zero_local()))

    def metric(self, mass: jax.Array, d: int) -> Local:
        """Return the square roots of the Fisher information of the coordinates at zero.

        `mass` (c,) is the fraction of the rows that each covariance describes, or 0. By default it
        is the diagonal of the information, from derivatives of `frame`.
        """
        counted = jnp.where(mass > 0, mass, 1)
        root = lambda squares: jnp.sqrt(jnp.where(squares > 0, squares, 1))
        return jax.tree.map(root, information_diagonal(self, counted, d))

    def zero_local(self) -> Local:
        """Return the local that describes this member itself."""
        return jax.tree.map(jnp.zeros_like, self)

    def gauge(self) -> Local:
        """Return directions of the coordinates that change no covariance, along a leading axis.

        By default there are none. They are linearly independent where the member is regular, and
        `n_parameters` does not count them.
        """
        empty = lambda leaf: jnp.zeros((0, *leaf.shape), leaf.dtype)
        return jax.tree.map(empty, self.coordinates(self.zero_local()))

    # ---- reading and writing ------------------------------------------------------------------

    @classmethod
    def array_shape(cls, k: int, d: int) -> tuple[int, ...]:
        """Return the family's own shape: the one in which users pass covariances.

        It is that of dense matrices by default. An example is (k, d) for variances.
        """
        return (k, d, d)

    @classmethod
    def own(cls, covariances: Any) -> Any:
        """Return dense covariances (k, d, d) in the family's own shape.

        Entries that the family cannot represent are dropped.
        """
        return covariances

    @classmethod
    def expand(cls, covariances: Any, k: int, d: int, xp: ModuleType) -> Any:
        """Return covariances in the family's own shape as dense matrices (k, d, d).

        xp is numpy or jax.numpy, and the arrays are of that kind.
        """
        return covariances

    @classmethod
    def from_own(cls, covariances: Any, xp: ModuleType) -> Family:
        """Return the member with these covariances, which are in the family's own shape.

        xp is numpy or jax.numpy, and the arrays are of that kind. By default the likeliest member
        is searched for.
        """
        return _likeliest_member(cls, jnp.asarray(covariances))

    @classmethod
    def of_scales(cls, scales: jax.Array, k: int) -> Family:
        """Return k uncorrelated covariances with standard deviations `scales` (d,) of the features.

        A family with one variance for all features uses their root mean square, and any other
        family that does not contain them returns a member near them.
        """
        variances = jnp.diag(scales**2)[None]
        return _likeliest_member(cls, jnp.broadcast_to(variances, (k, *variances.shape[1:])))

    @classmethod
    def of_axes(
        cls, log_scales: np.ndarray, axes: np.ndarray, first: Callable[[np.ndarray], np.ndarray]
    ) -> Family:
        """Return a batch of members on the host, for a family with letters.

        Args:
          log_scales: (lanes, k, d) logarithms of the scales w along the principal axes.
          axes: (lanes, k, d, d) the axes, as columns. They must be those of a member.
          first: a function that returns the row (lanes, 1, …) of a present component in an array
            (lanes, k, …), for leaves that all components share.
        """
        raise NotImplementedError

    def factor_on_host(self, d: int) -> np.ndarray:
        """Return whitening factors in float64, computed without compiling if possible.

        They are lower triangular (c, d, d), or the diagonals (c, d) if the factors are diagonal.
        """
        return lower_factor(np.asarray(_factor(self, d), np.float64))

    def select(self, sources: jax.Array) -> Family:
        """Return the covariances of the components `sources` (k,), in that order."""
        k = len(sources)
        pick = lambda leaf: leaf if len(leaf) == 1 and k > 1 else leaf[sources]
        return jax.tree.map(pick, self)


@functools.partial(jax.jit, static_argnums=1)
def _factor(member: Family, d: int) -> jax.Array:
    return dense_layout_of(member, d).factor


@functools.partial(jax.jit, static_argnums=0)
def _likeliest_member(kind: type[Family], covariances: jax.Array) -> Family:
    """Return the member with the highest likelihood for these covariances (k, d, d)."""
    k, d, _ = covariances.shape
    unit = kind.identity(k, d, covariances.dtype)
    layout = layout_of(unit, d, k)
    moments = layout.pool(layout.whiten_stack(covariances))
    mass = layout.pool(jnp.ones(k, covariances.dtype))
    return unit.moved(unit.likeliest(moments, mass, d))
