"""`Lettered`: the base of the families that only have mclust's names of three letters.

The letters say of volume, shape and orientation whether they are equal (E), varying (V) or those of
a unit matrix (I), for Σ_k = λ_k D_k A_k D_kᵀ (Banfield & Raftery 1993; Celeux & Govaert 1995).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ..internal.pytrees import pytree
from .family import Family
from .has_logarithms import HasLogarithms
from .scales import Scales, contrasts, of_leaf, split

Kind = TypeVar("Kind", bound=type[Family])


def member(kind: Kind) -> Kind:
    """Make a class a frozen dataclass and a pytree."""
    return pytree(dataclasses.dataclass(frozen=True)(kind))  # type: ignore[return-value]


class Lettered(HasLogarithms):
    """A family whose class is named by its three letters, with leaves `volume` and `shape`.

    The leaves are those of `Scales`. Subclasses add the leaves of their orientation.
    """

    volume: jax.Array
    shape: jax.Array
    own_volume: ClassVar[bool]
    own_shape: ClassVar[bool]
    own_orientation: ClassVar[bool]
    log_leaf: ClassVar[str] = "volume"

    def __init_subclass__(cls) -> None:
        """Read the letters of a family; its kinds have longer names."""
        if len(cls.__name__) == 3:
            cls.letters = cls.__name__
            cls.own_volume, cls.own_shape, cls.own_orientation = (
                letter == "V" for letter in cls.letters
            )

    @property
    def scales(self) -> Scales:
        """The leaves as `Scales`."""
        return Scales(self.volume, self.shape)

    def likeliest(self, moments, mass, d):
        return self.maximize(moments, mass, d)[0]  # a closed form

    @classmethod
    def unit_scales(cls, k: int, d: int, dtype: DTypeLike) -> Scales:
        """Return the leaves of unit covariances."""
        volumes, shapes = k if cls.own_volume else 1, k if cls.own_shape else 1
        return Scales(jnp.zeros((volumes, 1), dtype), jnp.zeros((shapes, d - 1), dtype))

    @classmethod
    def n_scales(cls, k: Any, d: int) -> Any:
        """Return the number of free parameters of volumes and shapes."""
        return (k if cls.own_volume else 1) + (k if cls.own_shape else 1) * (d - 1)

    @classmethod
    def even(cls, scales: jax.Array, k: int) -> Scales:
        """Return the leaves of k equal covariances with these standard deviations (d,)."""
        rows = jnp.broadcast_to(-jnp.log(scales)[None], (k, len(scales)))
        return split(rows, cls.own_volume, cls.own_shape)

    @classmethod
    def scales_of_batch(cls, log_scales: np.ndarray, first: Callable[[Any], Any]) -> Scales:
        """Return the leaves of a batch of members on the host: see `Family.of_axes`."""
        shape: Any = log_scales @ contrasts(log_scales.shape[-1], log_scales.dtype)
        volume: Any = log_scales.mean(axis=-1, keepdims=True)
        return Scales(
            volume if cls.own_volume else first(volume), shape if cls.own_shape else first(shape)
        )

    def metric_of_scales(self, mass: jax.Array, d: int) -> Scales:
        """Return the roots of the Fisher information of log volumes and contrasts."""
        roots = Scales(
            jnp.sqrt(2 * d * of_leaf(mass, self.volume)), jnp.sqrt(2 * of_leaf(mass, self.shape))
        )
        return Scales(
            *(
                jnp.broadcast_to(root[:, None], leaf.shape)
                for root, leaf in zip(roots, self.scales, strict=True)
            )
        )

    def scales_on_host(self, d: int) -> np.ndarray:
        """Return log w (1|k, d) in float64, without compiling anything."""
        volume, shape = (np.asarray(leaf, np.float64) for leaf in self.scales)
        return volume + shape @ contrasts(d, np.float64).T
