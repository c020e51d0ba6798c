"""The conditional kernel: rows of which values are missing, or measured with noise.

A row is evidence about a complete row v = μ_k + L_k y with y ~ N(0, I). For each component, the
kernel computes the log-density of what was seen, and the mean m and the covariance C of y given it.
Then Σ w r m is the shift and Σ w r (m mᵀ + C) the spread. By Fisher's identity, these are the
statistics whose expected log-likelihood has the gradient of the observed one, so M-steps and
gradients need nothing else.

Where the covariances are diagonal, m and C have a closed form (`uncorrelated_features.py`).
Otherwise missing values are projected out of whitened rows (`missing_values.py`), and for noise, or
where most values of a row are missing, the covariance of what was seen is inverted
(`noisy_values.py`). Each is accurate where the other is not: projection needs exact values, and the
covariance is well conditioned where there is noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from ..data.columns import Block, Columns
from ..mixture.mixture import Mixture
from .missing_values import Projected
from .noisy_values import Swept
from .protocol import Moments
from .uncorrelated_features import ClosedForm
from .whitened import Whitened

Result = TypeVar("Result")


class Complete(Whitened):
    """The branch for a block without gaps: the whitened kernel."""

    def log_joint_of(self, block: Block) -> tuple[jax.Array, jax.Array]:
        """Return the log-joint (k, b) of a block, and the residuals (k, d, b) for `sums`."""
        return self.log_joint(block.x)

    def sums(self, block: Any, y: jax.Array, weighted_responsibilities: jax.Array) -> Moments:
        """Return a block's mass, shift and spread."""
        return self.statistics(super().sums(block.x, y, weighted_responsibilities))


class Conditional:
    """The kernel of rows that are not fully observed, with a branch for each kind of block.

    Args:
      mixture: the mixture, in the coordinates of the rows, of dense or diagonal covariances (see
        `shared_noise.py`).
      lanes: the number of mixtures that are evaluated at once under vmap.
      columns: what is known of the rows.

    """

    fills_cores = False

    def __init__(self, mixture: Mixture, lanes: int, columns: Columns) -> None:
        self.mixture, self.lanes, self.columns = mixture, lanes, columns
        frame, d, most = mixture.frame, mixture.n_features, columns.most
        matrices = columns.noise > d or (columns.noise > 0 and d == 1)
        self._bounds: list[int] = []
        if frame.uncorrelated and columns.noise in (0, d):
            self._branches: list[Any] = [ClosedForm(mixture)]
        elif columns.noise:
            self._branches = [Swept(mixture, covariances=matrices and d > 1)]
        else:
            self._bounds = [0]
            while self._bounds[-1] < min(most, d // 2):
                self._bounds.append(min(max(2 * self._bounds[-1], 1), d // 2))
            projected = [Projected(mixture, bound) for bound in self._bounds[1:]]
            self._branches = [Complete(mixture), *projected]
            if most > self._bounds[-1]:
                self._branches.append(Swept(mixture, covariances=False))

    @property
    def numbers_per_row(self) -> int:
        """The count of numbers that all lanes store for each row of a block."""
        return self.lanes * max(branch.numbers_per_row for branch in self._branches)

    @property
    def numbers_in_sums(self) -> int:
        """The approximate count of numbers in the sums of all lanes."""
        k, d = self.mixture.means.shape
        return self.lanes * (k + k * d + self.mixture.covariance.n_parameters(k, d))

    def switch(self, function: Callable[..., Result], block: Block, *rest: Any) -> Result:
        """Return function(branch, block, *rest) for the branch made for the block's gaps."""
        calls = [
            lambda block, *rest, branch=branch: function(branch, block, *rest)
            for branch in self._branches
        ]
        if len(calls) == 1:
            return calls[0](block, *rest)
        largest = jnp.max(jnp.sum(jnp.isnan(block.x), axis=0))
        position = jnp.sum(largest > jnp.asarray(self._bounds, largest.dtype), dtype=jnp.int32)
        return jax.lax.switch(position, calls, block, *rest)

    def log_joint(self, x: jax.Array) -> Any:
        """Refuse: a branch computes it, see `switch`."""
        raise NotImplementedError

    def sums(self, x: jax.Array, intermediate: Any, weighted_responsibilities: jax.Array) -> Any:
        """Refuse: a branch computes them, see `switch`."""
        raise NotImplementedError

    def statistics(self, sums: Moments) -> Moments:
        """Return mass, shift and spread, which are the sums."""
        return sums
