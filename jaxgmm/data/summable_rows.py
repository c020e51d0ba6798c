"""`SummableRows`: the contract of rows of every kind, as a compiled program receives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import jax

from .columns import Block, Columns

if TYPE_CHECKING:
    from .cells import Cells
    from .rows import Rows
    from .stream import StreamCells


class SummableRows(Protocol):
    """Rows of every kind, as a compiled program sees them."""

    @property
    def n(self) -> int:
        """The number of rows on all devices; for a stream it is capped, see `StreamRows`."""

    @property
    def center(self) -> jax.Array:
        """The origin (d,) of the coordinates in which functions see the rows."""

    @property
    def parts(self) -> int:
        """The number of devices that each have a part of the rows."""

    def about(self, center: jax.Array) -> SummableRows:
        """Return the same rows in coordinates with their origin at `center` (d,)."""

    def about_mean(self) -> SummableRows:
        """Return the same rows in coordinates with their origin near their mean."""

    def detail(self) -> jax.Array:
        """Return the resolution (d,) of each feature in units of eps, see `finest_detail`."""

    def total(self, function: Callable[..., Any], block_rows: int) -> Any:
        """Return Σ over blocks of function(x (d, b), w (b,)), a pytree."""

    def total_blocks(self, function: Callable[[Block, jax.Array], Any], block_rows: int) -> Any:
        """Return Σ over blocks of function(block, w (b,)), a pytree."""

    def in_cells(self, positions_of: Callable[[Rows], jax.Array], axes: jax.Array) -> SummableRows:
        """Return the same rows in cells, see `kernels/divide_into_cells.py`."""

    def total_cells(self, function: Callable[[Rows], Any]) -> Any:
        """Return Σ over chunks of function(rows in cells), a pytree."""

    @property
    def columns(self) -> Columns | None:
        """What the columns of the rows hold if they are not fully observed, or None."""

    @property
    def cells(self) -> Cells | StreamCells | None:
        """How the rows are divided among cells of near ones, or None."""

    @property
    def shared_noise(self) -> jax.Array | None:
        """The columns of the noise that all rows share, or None."""

    def fold(self, function: Callable[[Any, Rows], Any], carry: Any) -> Any:
        """Apply carry = function(carry, rows) to one chunk after another and return the carry."""

    def on_one_device(self, action: Callable[[], None]) -> None:
        """Run `action` on one device only."""
