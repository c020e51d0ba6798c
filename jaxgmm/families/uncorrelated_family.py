"""`Uncorrelated`: the base of families whose covariances are passed as variances."""

from __future__ import annotations

from .family import Family


class Uncorrelated(Family):
    """A family whose own shape is that of a variance for each component and feature, (k, d)."""

    @classmethod
    def array_shape(cls, k, d):
        return (k, d)

    @classmethod
    def own(cls, covariances):
        return covariances.diagonal(axis1=-2, axis2=-1)

    @classmethod
    def expand(cls, covariances, k, d, xp):
        return covariances[:, :, None] * xp.eye(d, dtype=covariances.dtype)[None]
