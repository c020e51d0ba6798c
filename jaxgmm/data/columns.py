"""`Columns`: what the columns of a packed array of rows hold, and `Block`: the parts of a block.

What is known of each row beside its values (the noise of its measurement, a label, log-odds of the
components) is stored in further columns after the features. So every kind of data carries it,
whether it copies, orders, pads, spreads, streams or samples rows. A missing value is NaN.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..numerics.powers_of_two import power_of_two


class Block(NamedTuple):
    """A block of b rows of d features, with what is known beside their values.

    Attributes:
      x: (d, b) the rows, with NaN for missing values.
      noise: the variances (d, b) of each row's noise, its covariances as their lower triangles
        (d (d + 1)/2, b), row by row, or None.
      label: (b,) the component that a row belongs to, −1 if it is unknown; or None.
      log_odds: (k, b) numbers that are added to the log-joint, or None.
    """

    x: jax.Array
    noise: jax.Array | None = None
    label: jax.Array | None = None
    log_odds: jax.Array | None = None

    @property
    def odds(self) -> bool:
        """Whether anything is added to the log-joint."""
        return self.label is not None or self.log_odds is not None

    def add_odds(self, log_joint: jax.Array) -> jax.Array:
        """Return the log-joint (k, b) with what labels and log-odds add to it."""
        if self.label is not None:
            components = jnp.arange(len(log_joint), dtype=log_joint.dtype)[:, None]
            label = self.label[None]
            log_joint = jnp.where((label < 0) | (label == components), log_joint, -jnp.inf)
        return log_joint if self.log_odds is None else log_joint + self.log_odds


@dataclasses.dataclass(frozen=True)
class Columns:
    """What the columns of a packed array hold: features, noise, a label and log-odds, in order.

    Attributes:
      features: d.
      noise: the number of columns for noise of each row's own: 0, d for variances, or
        d (d + 1)/2 for covariances.
      common_noise: the number of columns for noise that is the same in all rows. Either is 0.
      labeled: whether there is a column of labels.
      components: the number of columns of log-odds, 0 if there are none.
      most: a bound on the number of missing values in a row, 0 if none is missing.
      largest_label: the largest label, or −1. Programs do not depend on it.
    """

    features: int
    noise: int = 0
    common_noise: int = 0
    labeled: bool = False
    components: int = 0
    most: int = 0
    largest_label: int = dataclasses.field(default=-1, compare=False)

    @property
    def width(self) -> int:
        """The number of columns."""
        return self._label + self.labeled + self.components

    @property
    def _label(self) -> int:
        return self.features + self.noise + self.common_noise

    @property
    def partial(self) -> bool:
        """Whether values of rows are missing, or measured with noise of their own."""
        return self.most > 0 or self.noise > 0

    @property
    def plain(self) -> bool:
        """Whether the rows are fully observed, and nothing is stored beside their values."""
        return self.most == 0 and self.width == self.features

    @property
    def odds(self) -> bool:
        """Whether something is known of the components that rows belong to."""
        return self.labeled or self.components > 0

    def split(self, packed: jax.Array) -> Block:
        """Return the parts of a packed block (width, b), without noise that all rows share."""
        d, label = self.features, self._label
        return Block(
            x=packed[:d],
            noise=packed[d:label] if self.noise else None,
            label=packed[label] if self.labeled else None,
            log_odds=packed[label + self.labeled :] if self.components else None,
        )

    @property
    def powers(self) -> np.ndarray:
        """The power of the features' unit (width,) that is the unit of each column."""
        squares = self.noise + self.common_noise
        return np.repeat([1, 2, 0], [self.features, squares, self.width - self._label])

    @property
    def of_each_row(self) -> Columns:
        """The same columns, with noise that all rows share as noise of each row."""
        return dataclasses.replace(self, noise=self.noise + self.common_noise, common_noise=0)

    def shared_noise(self, packed: Any) -> Any:
        """Return the columns of the noise that all packed rows (n, width) share, or None."""
        d = self.features
        return packed[0, d : d + self.common_noise] if self.common_noise else None

    def check_components(self, k: int) -> None:
        """Raise ValueError if labels or log-odds are of other components than 0 … k − 1."""
        if self.largest_label >= k:
            raise ValueError(
                f"a label is {self.largest_label}, but there are {k} components, numbered from 0: "
                f"pass at least {self.largest_label + 1} components, or −1 for rows whose "
                "component is unknown."
            )
        if self.components and self.components != k:
            raise ValueError(
                f"allowed or log_odds have {self.components} columns, but there are {k} "
                "components: pass a column for each component."
            )


def bound_of_count(count: int, d: int) -> int:
    """Return a power of two, or d, that is at least `count`, so that similar data share programs.

    A row without any value counts as all d.
    """
    limit = d // 2 if count <= d // 2 else d  # beyond half, a kernel needs another branch
    return 0 if count == 0 else min(1 << (count - 1).bit_length(), limit)


def features_of(x: Any, columns: Columns | None) -> Any:
    """Return the features (n, d) of an array that may be packed."""
    return x if columns is None else x[:, : columns.features]


def rescale_rows(x: Any, columns: Columns | None, exponent: int) -> Any:
    """Return rows (n, width) that may be packed, with features times 2 to the power `exponent`."""
    if exponent == 0:
        return x
    powers = np.ones((1, 1), int) if columns is None else columns.powers[None]
    return x * power_of_two(exponent * powers, x.dtype)
