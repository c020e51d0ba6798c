"""`Universal`: all fourteen of mclust's families as one, so that one program fits them all.

A covariance has a volume, a shape and principal axes, as in `rotated.py`, and every component has
leaves of its own. Which of these leaves are equal follows from the *code* of the family's three
letters, which is an array and not part of the class. So fits of different families run in one
batch. Only sweeps use this class. They convert the results to the family's own class by
`own_members`.

The M-step alternates between the scales and plane rotations of the axes, as that of `Rotated` does,
but only a few times, except at a start. It is therefore a step of generalized EM, which never
lowers the objective and has the same fixed points.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..internal.trees import where_each
from ..numerics.products import matmul
from ..numerics.triangular import transpose
from ..numerics.unit_matrix import unit_matrix
from .dense_layout import Dense
from .family import Family
from .lettered_family import member
from .scales import Scales, contrasts, split
from .universal_rotations import Code
from .universal_step import climb


def code_of(letters: str) -> np.ndarray:
    """Return the code of a family's three letters, as the numbers of a `Code`."""
    volume, shape, orientation = tuple(letters)
    return np.array(
        Code(
            own_volume=volume == "V",
            own_shape=shape == "V",
            round=shape == "I",
            own_axes=orientation == "V",
            common_axes=orientation == "E",
        ),
        np.float32,
    )


def turns_axes(codes: np.ndarray) -> np.ndarray:
    """Return for which codes (lanes, 6) an M-step turns axes, as booleans, in NumPy."""
    return Code(*codes.T).turns > 0


def code_of_starts(codes: np.ndarray) -> np.ndarray:
    """Return codes (lanes, 6) of families whose starts are those of all families, in NumPy.

    Two families have the same one if and only if their even covariances are the same.
    """
    one = np.ones_like(codes[:, 0])
    words = Code(*codes.T)._replace(
        own_volume=one, own_shape=one, own_axes=one, common_axes=0 * one
    )
    return np.stack(words, axis=1)


def starts_of_families(
    covariance: Universal, spread: np.ndarray, codes: np.ndarray
) -> tuple[Universal, np.ndarray]:
    """Return a batch of starts in the families of `codes` (lanes, 6), in NumPy.

    The even covariances, and the second moments (lanes, k, d, d) in their units, are those of the
    families of `code_of_starts`.
    """
    words = Code(*codes.T)._replace(to_the_end=covariance.code[:, 0, -1])
    code = np.broadcast_to(np.stack(words, axis=1)[:, None], covariance.code.shape)
    common = words.all_common[:, None, None, None]
    spread = np.where(common, spread.sum(axis=1, keepdims=True), spread)
    found = dataclasses.replace(covariance, code=code)  # type: ignore[type-var]
    return found, spread


def own_members(kind: type[Family], universal: Universal, logits: np.ndarray) -> Family:
    """Return a batch of members in their family's own class, in NumPy.

    Args:
      kind: the class of the family.
      universal: members of this family, with leaves (..., k, …).
      logits: (..., k) of their components, of which the largest says where common leaves are read.
    """
    *batch, k = logits.shape
    count = math.prod(batch)  # which −1 cannot stand for: with one feature, a leaf is empty
    flat = lambda leaf: np.asarray(leaf, np.float64).reshape(count, *leaf.shape[len(batch) :])
    leaves = universal.volume, universal.shape, universal.axes
    volume, shape, axes = (flat(leaf) for leaf in leaves)
    heaviest = np.argmax(logits.reshape(-1, k), axis=-1)
    first = lambda leaf: leaf[np.arange(len(leaf)), heaviest][:, None]
    log_scales = volume + shape @ contrasts(axes.shape[-1], np.float64).T
    with np.errstate(all="ignore"):  # lanes that never began consist of zeros
        found = kind.of_axes(log_scales, axes, first)
    dtype = universal.volume.dtype
    return jax.tree.map(lambda leaf: leaf.astype(dtype).reshape(*batch, *leaf.shape[1:]), found)


class PrincipalLayout(Dense):
    """A dense layout in which a traced number says whether all components share the covariance.

    If they do, each entry of what is kept for a covariance is the sum over all components.
    """

    def __init__(self, *parts: jax.Array, common: jax.Array) -> None:
        super().__init__(*parts)
        self.shared = False
        self._common = common

    def pool(self, values):
        total = jnp.broadcast_to(jnp.sum(values, axis=0, keepdims=True), values.shape)
        return jnp.where(self._common, total, values)

    def sum_covariances(self, values):
        return jnp.where(self._common, values[0], jnp.sum(values))

    def residuals(self, means, x):
        # The displacement of the means is part of the product.
        d, b = x.shape
        moved = jnp.concatenate([self.factor, -self.whiten(means)[..., None]], axis=2)
        augmented = jnp.concatenate([x, jnp.ones((1, b), x.dtype)])
        return matmul(moved.reshape(-1, d + 1), augmented).reshape(-1, d, b)

    def statistics(self, sums, common, means):
        mass, shift, spread = super().statistics(sums, common, means)
        return mass, shift, self.pool(spread)


class Moved(NamedTuple):
    """A local: what is added to the scales and to the axes."""

    volume: jax.Array
    shape: jax.Array
    axes: jax.Array


@member
class Universal(Family):
    """Covariances with principal axes, of the family that the code says.

    Leaves of components that share something are equal in every row. `volume` (k, 1) and `shape`
    (k, d−1) are those of `Scales`, `axes` (k, d, d) are orthonormal, and `code` (k, 6) has equal
    rows.
    """

    volume: jax.Array
    shape: jax.Array
    axes: jax.Array
    code: jax.Array

    @classmethod
    def identity(cls, k, d, dtype):
        axes = jnp.broadcast_to(unit_matrix(d, dtype)[None], (k, d, d))
        code = jnp.broadcast_to(jnp.asarray(code_of("VVV"), dtype)[None], (k, len(Code._fields)))
        return cls(jnp.zeros((k, 1), dtype), jnp.zeros((k, d - 1), dtype), axes, code)

    @classmethod
    def of_scales(cls, scales, k):
        unit = cls.identity(k, len(scales), scales.dtype)
        rows = jnp.broadcast_to(-jnp.log(scales)[None], (k, len(scales)))
        return cls(*split(rows, True, True), unit.axes, unit.code)

    @property
    def scales(self) -> Scales:
        """The leaves as `Scales`."""
        return Scales(self.volume, self.shape)

    @property
    def words(self) -> Code:
        """The code of the family, which all components share."""
        return Code(*self.code[0])

    def frame(self, d):
        logarithm = self.scales.logarithms(d)
        factor = jnp.exp(logarithm)[:, :, None] * transpose(self.axes)
        inverse = self.axes * jnp.exp(-logarithm)[:, None, :]
        total = d * self.volume[:, 0]
        return PrincipalLayout(factor, inverse, total, common=self.words.all_common)

    def shares_leaves(self, c):
        return self.words.coupled

    def n_own_parameters(self, d):
        words = self.words
        own = words.own_volume + words.own_shape * (d - 1) + words.own_axes * (d * (d - 1) // 2)
        shape, axes = jnp.where(words.round > 0, 0, d - 1), words.common_axes * (d * (d - 1) // 2)
        return jnp.where(words.all_common, 1 + shape + axes, own)

    # ---- the M-step ---------------------------------------------------------------------------

    def maximize(self, moments, mass, d):
        scale = jnp.exp(self.scales.logarithms(d))
        found = climb(moments, mass, scale, self.axes, self.code[0])
        h = contrasts(d, moments.dtype)
        shape = matmul(-found.log_shape / 2, h)
        local = Moved(-found.log_volume[:, None] / 2, shape, found.move)
        # A start keeps the scales of the data where its own moments have none.
        entries = jnp.concatenate([local.volume, local.shape], axis=1)
        keeps = (self.code[:, -1] > 0) & ~jnp.all(jnp.isfinite(entries), axis=1)
        return where_each(keeps, self.zero_local(), local), found.gain

    def likeliest(self, moments, mass, d):
        words = Code(*self.code.T)._replace(to_the_end=jnp.ones(len(self.code), self.code.dtype))
        return dataclasses.replace(self, code=jnp.stack(words, axis=1)).maximize(moments, mass, d)[
            0
        ]

    def moved(self, local):
        words = Code(*self.code.T)
        code = jnp.stack(words._replace(to_the_end=0 * words.to_the_end), axis=1)
        leaves = self.volume, self.shape, self.axes
        return type(self)(*jax.tree.map(jnp.add, leaves, tuple(local)), code)

    def zero_local(self):
        return Moved(*jax.tree.map(jnp.zeros_like, (self.volume, self.shape, self.axes)))


class CodedFamily(NamedTuple):
    """The family of a code, for starts: it has the constructor that they need.

    The M-step of its members goes to the end, but not that of the members which it leads to.

    Attributes:
      code: (6,) the numbers of a `Code`.
    """

    code: jax.Array

    def of_scales(self, scales: jax.Array, k: int) -> Universal:
        """Return k equal covariances with standard deviations `scales` (d,) of the features."""
        root_mean_square = jnp.sqrt(jnp.mean(scales**2))
        scales = jnp.where(Code(*self.code).round > 0, root_mean_square, scales)
        words = Code(*self.code)._replace(to_the_end=jnp.ones((), self.code.dtype))
        code = jnp.broadcast_to(jnp.stack(words)[None], (k, len(words)))
        return dataclasses.replace(Universal.of_scales(scales, k), code=code)
