"""`combine`: components that are grouped into clusters where they overlap."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ..data.rows import Rows
from ..internal import checks
from ..mixture.complete_rows import responsibilities
from ..mixture.inputs import open_for_mixture
from ..mixture.mixture import Mixture
from ..numerics.products import matmul

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The numbers that a block holds in memory, about: pairs of clusters × rows.
BLOCK_NUMBERS, LEAST_ROWS, MOST_ROWS = 1 << 18, 16, 1024


@dataclasses.dataclass(frozen=True, repr=False)
class Combined:
    """Clusters of components, for every number G of clusters; the result of `combine`.

    Attributes:
      mixture: the mixture, unchanged.
      x: the rows that were passed.
      groups: for each G from 1 to the number of components that are present, the cluster (k,) of
        each component, from 0 to G − 1, or −1 if it is absent.
      entropy: for each G, the entropy −Σ w r log r of the responsibilities r of its clusters, in
        nats.
    """

    mixture: Mixture
    x: Any
    groups: dict[int, np.ndarray]
    entropy: dict[int, float]

    def __repr__(self) -> str:
        """Return a one-line summary."""
        curve = ", ".join(f"{g}: {self.entropy[g]:.4g}" for g in sorted(self.entropy)[:8])
        more = ", …" if len(self.entropy) > 8 else ""
        return f"Combined({len(self.groups)} components; entropy {{{curve}{more}}})"

    def labels(self, n_clusters: int, x: ArrayLike | None = None) -> np.ndarray:
        """Return the most likely of G clusters for each row.

        Args:
          n_clusters: G, a whole number from 1 to the number of components that are present.
          x: (n, d) rows, or None for the rows that were passed to `combine`.

        Returns:
          The cluster (n,) of each row, a whole number from 0 to G − 1.

        Raises:
          ValueError: if G is not such a number, or x is not such rows.
        """
        g = checks.whole(n_clusters, "n_clusters", 1, len(self.groups))
        groups, found = self.groups[g], []
        belongs = (groups[:, None] == np.arange(g)[None]).astype(float)
        data = open_for_mixture(self.mixture, self.x if x is None else x)[1]
        for rows, _ in data.pieces():
            shares = np.asarray(responsibilities(self.mixture, rows), np.float64)
            found.append(np.argmax(shares @ belongs, axis=1))
        return np.concatenate(found)[: data.n]  # without padding

    def plot(self, ax: Axes | None = None) -> Axes:
        """Plot the entropy against the number of clusters, see `jaxgmm.plot.entropy_curve`."""
        from ..plot.algebra import entropy_curve

        return entropy_curve(self, ax)


def combine(
    mixture: Mixture,
    x: Any,
    *,
    weight: ArrayLike | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Combined:
    """Group components into clusters by repeatedly merging the two that overlap most.

    A cluster that is not Gaussian takes several components of a mixture. The responsibility of a
    cluster is the sum of those of its components. At first, each of the K components is a cluster.
    Each step merges the two clusters whose union lowers the entropy −Σ w r log r of the
    responsibilities most, until one cluster is left. The mixture does not change. A bend in the
    curve of the entropy marks a number of clusters below which merging gains little.

    One pass over the rows evaluates all pairs, and one pass after each merger evaluates the pairs
    of the new cluster. No array of n × K numbers is stored.

    Args:
      mixture: a single mixture with finite parameters, e.g. the one with the lowest BIC.
      x: (n, d) rows: an array, or `Blocks`, `Shards` or a `Stream`.
      weight: (n,) row weights, or None for ones.
      devices: the devices that share an array of many rows; by default all local ones.

    Returns:
      A `Combined` with the clusters and the entropy for each G, the method `labels`, and the
      method `plot`. It refers to x.

    Raises:
      ValueError: for invalid arguments, as `log_likelihood` does, and under jit, vmap and grad.

    See Baudry, Raftery, Celeux, Lo & Gottardo (2010), J. Comput. Graph. Statist. 19, sec. 2.2;
    mclust's `clustCombi`.

    >>> m = jaxgmm.Mixture.from_parameters(
    ...     [0.4, 0.2, 0.4], [[0.0], [1.0], [9.0]], [1.0, 1.0, 1.0], family="spherical"
    ... )
    >>> x, _ = jaxgmm.sample(jax.random.key(0), m, 200)
    >>> found = jaxgmm.combine(m, x)
    >>> found.groups[2], found.labels(2)[:5].shape
    (array([0, 0, 1]), (5,))
    """
    if checks.traced(mixture, x, weight):
        raise ValueError(
            "combine chooses pairs of components on the host: call it outside jit, vmap and grad."
        )
    wide, data = open_for_mixture(mixture, x, weight, devices)
    k = wide.n_components
    present = np.flatnonzero(np.asarray(wide.present))
    cluster = np.arange(k)  # the number of a component that stands for its cluster
    own, joint = (
        np.array(part, np.float64)
        for part in data.compute(
            _sums, wide, cluster.astype(np.int32), np.arange(k, dtype=np.int32)
        )
    )
    groups, entropy, alive = {}, {}, list(present)
    while True:
        groups[len(alive)] = _numbered(cluster, present)
        entropy[len(alive)] = max(-float(own[alive].sum()), 0.0)
        if len(alive) == 1:
            return Combined(mixture, x, groups, entropy)
        gain = joint - own[:, None] - own[None]
        pairs = [(gain[i, j], i, j) for a, i in enumerate(alive) for j in alive[a + 1 :]]
        _, i, j = max(pairs, key=lambda pair: (pair[0], -pair[1], -pair[2]))
        cluster[cluster == j] = i
        alive.remove(j)
        which = np.array([i], np.int32)
        sums, row = data.compute(_sums, wide, cluster.astype(np.int32), which)
        own[i] = float(sums[i])
        joint[i] = joint[:, i] = np.asarray(row[0], np.float64)


def _numbered(cluster: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return clusters numbered from 0 in the order of their first components, −1 for absent ones.

    `cluster` (k,) contains one component's number for each cluster, the first one.
    """
    numbers = {first: i for i, first in enumerate(sorted(set(cluster[present].tolist())))}
    result = np.full(len(cluster), -1)
    result[present] = [numbers[first] for first in cluster[present].tolist()]
    return result


def _sums(
    rows: Rows, mixture: Mixture, cluster: jax.Array, which: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return Σ w s log s of clusters (k,), and of the unions (m, k) of some with each.

    Args:
      rows: the rows.
      mixture: the mixture.
      cluster: (k,) the cluster of each component.
      which: (m,) the clusters whose unions are evaluated.
    """
    weights = jnp.where(mixture.present, mixture.weights, 0)[:, None]
    center = jnp.sum(weights * mixture.means, axis=0)
    centered, rows = mixture.translate(-center), rows.about(center)
    k = mixture.n_components
    belongs = (cluster[None] == jnp.arange(k)[:, None]).astype(mixture.dtype)

    def sum_block(x: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = centered.frame.residuals(centered.means, x)
        joint = centered.log_constants[:, None] - jnp.sum(y**2, axis=1) / 2
        shares = matmul(belongs, jax.nn.softmax(joint, axis=0))
        of_union = lambda i: _entropy_sum(shares[i][None] + shares, weight)
        return _entropy_sum(shares, weight), jax.vmap(of_union)(which)

    pairs = max(k * len(which), k * k)
    size = min(max(BLOCK_NUMBERS // pairs, LEAST_ROWS), MOST_ROWS)
    return rows.total(sum_block, size)


def _entropy_sum(shares: jax.Array, weight: jax.Array) -> jax.Array:
    """Return Σ w s log s over the rows of shares (…, b)."""
    return jnp.sum(weight[None] * jax.scipy.special.xlogy(shares, shares), axis=-1)
