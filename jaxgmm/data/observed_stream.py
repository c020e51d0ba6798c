"""`ObservedStream`: a stream of rows that are not fully observed, in packed blocks."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..internal import checks
from . import observed_checks, source_checks
from .columns import Columns
from .observed import Observed, Packed, pack
from .stream import Stream, Survey, survey_blocks


@dataclasses.dataclass(frozen=True, eq=False)
class ObservedStream(Stream):
    """A stream whose blocks are packed, from blocks with NaN or from `Observed` blocks.

    Attributes:
      whole: the `Observed` whose x is the stream; its other parts are for all rows.
    """

    whole: Observed | None = None

    @classmethod
    def of(cls, observed: Observed) -> ObservedStream:
        """Return the stream of an `Observed` over a `Stream`."""
        stream = observed.x
        return cls(stream.source, stream.block_rows, observed)

    def _raw_blocks(self) -> Iterator[Observed]:
        """Yield `Observed` blocks, with their rows of the parts that are given for all rows."""
        start = 0
        for number, block in enumerate(super()._raw_blocks()):
            parts = block if isinstance(block, Observed) else Observed(block)
            name = f"block {number} of the stream"
            source_checks.untraced_rows(parts.x, name)
            x = np.asarray(checks.array(parts.x, name))
            source_checks.block(x, number, x.shape[1] if x.ndim == 2 else None)
            stop = start + len(x)
            own = {"x": x}
            for field in dataclasses.fields(Observed):
                if field.name == "x":
                    continue
                value = getattr(parts, field.name)
                common = getattr(self.whole, field.name)
                if common is not None and value is not None:
                    raise ValueError(
                        f"{field.name} is given both for the stream and in a block: pass it once."
                    )
                own[field.name] = (
                    value if common is None else _rows_of(field.name, common, start, stop)
                )
            yield Observed(**own)
            start = stop

    def _pack(self, block: Observed) -> Packed:
        """Pack a block in its own dtype: blocks are read on a thread that has no mode of JAX."""
        dtype = np.asarray(block.x).dtype
        wide = dtype if dtype in (np.float32, np.float64) else np.dtype(np.float64)
        packed = pack(block, whole=False, dtype=wide)
        noise = None if self.whole is None else self.whole.noise
        if noise is not None and observed_checks.is_for_all_rows(noise):
            return packed
        return packed._replace(columns=packed.columns.of_each_row)  # blocks differ

    @functools.cached_property
    def columns(self) -> Columns | None:  # type: ignore[override]
        """What the columns of blocks hold, from a first pass."""
        found: Columns | None = None
        for block in self._raw_blocks():
            own = self._pack(block).columns
            if found is not None and (own.noise, own.labeled, own.components) != (
                found.noise, found.labeled, found.components,
            ):  # fmt: skip
                own = _join(own, found)
            most = own.most if found is None else max(own.most, found.most)
            largest = max(own.largest_label, -1 if found is None else found.largest_label)
            found = dataclasses.replace(own, most=most, largest_label=largest)
        return found

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield all blocks, packed."""
        columns: Any = self.columns
        if columns is None:
            return
        for number, block in enumerate(self._raw_blocks()):
            source_checks.block(np.asarray(block.x), number, columns.features)
            packed = self._pack(block)
            yield _widen(np.asarray(packed.x), packed.columns, columns)

    @functools.cached_property
    def shared_noise(self) -> np.ndarray | None:  # type: ignore[override]
        """The columns of the noise that all rows share, or None."""
        columns: Any = self.columns
        return columns.shared_noise(next(self.blocks())) if columns else None

    @functools.cached_property
    def survey(self) -> Survey:
        """Facts about the rows from a first pass, which is made only once."""
        source_checks.stream(self.source, self.block_rows)
        found = survey_blocks(self.blocks(), self.columns)
        empty = ~np.isfinite(found.low)
        if empty.any():
            raise ValueError(
                f"column {int(np.argmax(empty))} of the stream has no value in any row: leave the "
                "column out."
            )
        return found


def _rows_of(name: str, value: Any, start: int, stop: int) -> Any:
    """Return the rows from start to stop of a part that is given for the whole stream."""
    array = np.asarray(checks.array(value, name))
    if name == "noise" and observed_checks.is_for_all_rows(array):
        # A covariance for each row, because a block may have as many rows as columns.
        return np.broadcast_to(array, (stop - start, *array.shape)) if array.ndim == 2 else value
    return array[start:stop]


def _join(one: Columns, other: Columns) -> Columns:
    """Return columns that can hold both kinds of blocks, of which one may have no noise."""
    if one.labeled != other.labeled or one.components != other.components:
        raise ValueError(
            "some blocks of the stream have labels or log-odds, and others do not: pass them in "
            "every block."
        )
    return dataclasses.replace(one, noise=max(one.noise, other.noise))


def _widen(x: np.ndarray, own: Columns, columns: Columns) -> np.ndarray:
    """Return a packed block with as many columns for noise as other blocks have."""
    if own.noise == columns.noise:
        return x
    d, rest = own.features, x[:, own.features + own.noise :]
    noise = np.zeros((len(x), columns.noise), x.dtype)
    if own.noise:  # variances among covariances
        rows, places = np.tril_indices(d)
        noise[:, rows == places] = x[:, d : d + d]
    return np.concatenate([x[:, :d], noise, rest], axis=1)
