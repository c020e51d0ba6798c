"""The same rows in every kind."""

import chex
import numpy as np

from jaxgmm import Blocks, Shards, Stream

N, D, K = 501, 3, 3  # does not divide by the devices, nor by a block
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(N, D)) + 4 * RANDOM.integers(0, 3, N)[:, None]
WEIGHT = RANDOM.uniform(0.5, 2, N)


def pieces(x=X, rows=70):
    return (x[i : i + rows] for i in range(0, len(x), rows))


class Sliced:
    """As a memory map, a Zarr or an HDF5 array: a shape, and slices."""

    shape = X.shape

    def __getitem__(self, rows):
        return X[rows]


KINDS = {
    "blocks": lambda: Blocks(X, 64),
    "shards": lambda: Shards(X),
    "shards of a callback": lambda: Shards(lambda i: X[i], shape=X.shape, dtype=np.float64),
    "stream of a function": lambda: Stream(pieces),
    "stream of a list": lambda: Stream(list(pieces(rows=33))),
    "stream of slices": lambda: Stream(Sliced(), block_rows=100),
    "stream over devices": lambda: Stream(pieces),
}


def same(found, expected, tolerance=1e-10):
    chex.assert_trees_all_close(found, expected, rtol=tolerance, atol=tolerance)
