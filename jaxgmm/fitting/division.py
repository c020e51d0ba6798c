"""Whether a fit divides its rows among cells of near ones, and the division.

See `kernels/divide_into_cells.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..data.rows import Rows
from ..data.sources import Data
from ..data.stream_passes import StreamData
from ..internal import checks
from ..kernels.divide_into_cells import divide, may_divide
from ..mixture.mixture import Mixture
from .loop import LoopSettings, RowConstants

# A division takes as long as two to three passes. With checkpoints fewer steps apart than this,
# after each of which the rows would be divided again, it does not pay.
LEAST_STEPS = 20
# The cells of a longer stream would need over half a GiB of memory.
MOST_STREAMED = 5 * 10**7


def with_division(settings: LoopSettings, data: Data, starts: Sequence[Mixture]) -> LoopSettings:
    """Return the settings, with `divides_rows` if passes over cells may pay from one of the starts.

    The fits from all starts then share one program.
    """
    # Under vmap both kinds of passes would be computed.
    if settings.kernel != "auto" or data.columns is not None or checks.traced(data, *starts):
        return settings
    together = data.n
    if isinstance(data, StreamData):  # each chunk is divided, and its rows' positions are kept
        together = min(data.n, data.chunk_rows // data.parts)
        if data.n > MOST_STREAMED:
            return settings
    divides = any(may_divide(start, data.n, together) for start in starts)
    return settings._replace(divides_rows=divides)


def divide_rows(
    rows: Rows, constants: RowConstants, start: Mixture, settings: LoopSettings
) -> Rows:
    """Return the rows of a loop, in cells if the settings say so."""
    if not settings.divides_rows:
        return rows
    return divide(rows, start.translate(-constants.center))
