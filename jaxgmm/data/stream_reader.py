"""`StreamReader`: answers the requests of a program by passes over the rows of a stream."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ..numerics.compensated import add_compensated
from .devices import AXIS
from .host_interpreter import Request
from .sources import RowsAndWeights
from .stream_chunks import Chunks


class StreamReader:
    """Answers the requests of a program by passes over the rows, read on another thread.

    It fulfills `host_interpreter.Reader`.
    """

    def __init__(
        self,
        chunks: Chunks,
        pieces: Callable[[], Iterator[RowsAndWeights]],
        interleaved_pieces: Callable[[], Iterator[RowsAndWeights]],
        mesh: Mesh | None,
        thread: Executor,
    ) -> None:
        self.chunks, self.pieces, self.interleaved_pieces = chunks, pieces, interleaved_pieces
        self.mesh, self.thread = mesh, thread
        self.layout = None if mesh is None else NamedSharding(mesh, P(AXIS))
        # By number: a function that returns what is kept for each chunk, and remembers it.
        self.kept: list[Callable[[], list[Sequence[jax.Array]]]] = []

    def total(
        self, request: Request, kept: jax.Array | None, *constants: jax.Array
    ) -> list[jax.Array]:
        """Return the sums of `request` over all rows. Each device adds up its own part."""
        parts = 1 if self.mesh is None else self.mesh.size
        zeros = [np.zeros((parts, *shape.shape), shape.dtype) for shape in request.shapes]
        state = jax.device_put((zeros, zeros), self.layout)
        constants = self._on_all_devices(constants)
        each = itertools.repeat(()) if kept is None else iter(self.kept[int(kept)]())

        def add(state, x, weight):
            return _add_chunk(request, self.mesh, constants, (x, weight, *next(each)), *state)

        sums, _ = self._pass_over(self.pieces(), add, state, self.layout)
        return jax.device_put([np.sum(np.asarray(leaf), axis=0) for leaf in sums])

    def keep(self, request: Request, *constants: jax.Array) -> list[jax.Array]:
        """Keep what `request` returns for each chunk, with each device's part one after another.

        It is computed when a total first needs it.
        """

        @functools.cache
        def compute() -> list[Sequence[jax.Array]]:
            found: list[Sequence[jax.Array]] = []
            everywhere = self._on_all_devices(constants)

            def visit(before, x, weight):
                found.append(_visit(request, self.mesh, everywhere, (x, weight)))
                return found[-1]

            self._pass_over(self.pieces(), visit, None, self.layout)
            return found

        self.kept.append(compute)
        return [jnp.int32(len(self.kept) - 1)]

    def _on_all_devices(self, values: Any) -> Any:
        """Return the values where each device has them: copied once here, not with every chunk."""
        if self.mesh is None:
            return values
        return jax.device_put(jax.tree.map(np.asarray, values), NamedSharding(self.mesh, P()))

    def fold(self, request: Request, *operands: jax.Array) -> list[jax.Array]:
        """Return the carry of `request` after all chunks, on one device."""
        carried = len(request.shapes)
        constants, carry = operands[: len(operands) - carried], operands[-carried:]
        visit = lambda carry, *chunk: _visit(request, None, [*constants, *carry], chunk)
        return self._pass_over(self.interleaved_pieces(), visit, list(carry), None)

    def _pass_over(
        self,
        pieces: Iterator[RowsAndWeights],
        step: Callable[..., Any],
        state: Any,
        layout: NamedSharding | None,
    ) -> Any:
        """Apply state = step(state, x, weight) to all chunks and return the state.

        The next chunk is read during the computation, into the buffer of a chunk that is finished.
        """
        chunks = self.chunks.fill(pieces)
        before = state
        reading = self.thread.submit(next, chunks, None)
        while (chunk := reading.result()) is not None:
            jax.block_until_ready(before)
            reading, before = self.thread.submit(next, chunks, None), state
            state = step(state, *jax.device_put(chunk, layout))
        return jax.block_until_ready(state)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _add_chunk(
    request: Request,
    mesh: Mesh | None,
    constants: Sequence[jax.Array],
    chunk: Sequence[jax.Array],
    total: list[jax.Array],
    lost: list[jax.Array],
) -> tuple[list[jax.Array], list[jax.Array]]:
    """Return the compensated sums (parts, ...) with those of one chunk added, and their errors."""

    def add(constants, chunk, total, lost):
        values = request(*constants, *chunk)
        added = (
            add_compensated(t[0], z[0], v) for t, z, v in zip(total, lost, values, strict=True)
        )
        grown, lost = zip(*added, strict=True)
        return [leaf[None] for leaf in grown], [leaf[None] for leaf in lost]

    return _on_parts(mesh, add)(constants, chunk, total, lost)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _visit(
    request: Request,
    mesh: Mesh | None,
    constants: Sequence[jax.Array],
    chunk: Sequence[jax.Array],
) -> Sequence[jax.Array]:
    return _on_parts(mesh, lambda constants, chunk: request(*constants, *chunk))(constants, chunk)


def _on_parts(mesh: Mesh | None, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return function(constants, ...) of each device's part of the other arguments."""
    if mesh is None:
        return function

    def on_parts(constants, *own):
        specs = P(), *(P(AXIS) for _ in own)
        return jax.shard_map(
            function, mesh=mesh, in_specs=specs, out_specs=P(AXIS), check_vma=False
        )(constants, *own)

    return on_parts
