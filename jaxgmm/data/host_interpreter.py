"""An interpreter that runs a traced program on the host, where it needs sums over streamed rows.

A program on the device cannot wait for a disk, and a callback that calls JAX again can deadlock.
Therefore the host interprets the program: Python runs each loop and each branch that contains a
request for rows, and everything between two requests is compiled. The program is the same one that
an array would get, so algorithms need not know where their rows come from.

The requests are primitives (see `stream_requests.py`). A `Reader` answers them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from .stream_requests import fold_p, keep_p, shape_of, total_p, uses_kept


class Reader(Protocol):
    """What answers the requests of a program; see `stream_reader.py`."""

    def total(
        self, request: Request, kept: jax.Array | None, *constants: jax.Array
    ) -> list[jax.Array]:
        """Return Σ over chunks of request(*constants, x, weight, *kept for the chunk)."""

    def keep(self, request: Request, *constants: jax.Array) -> list[jax.Array]:
        """Keep request(*constants, x, weight) for each chunk, and return its number."""

    def fold(self, request: Request, *operands: jax.Array) -> list[jax.Array]:
        """Return the last carry = request(*constants, *carry, x, weight) over all chunks.

        The operands are the constants and then the initial carry.
        """


# A part of the program: step(reader, *values) -> values. Parts without requests ignore the reader,
# which may then be None.
ProgramPart = Callable[..., Sequence[Any]]


# ---- the interpreter ---------------------------------------------------------------------------


def _contains_requests(jaxpr: core.Jaxpr) -> bool:
    return any(_makes_request(eqn) for eqn in jaxpr.eqns)


def _makes_request(eqn: core.JaxprEqn) -> bool:
    if eqn.primitive in (total_p, fold_p, keep_p):
        return True
    return any(map(_contains_requests, core.jaxprs_in_params(eqn.params)))


def run_on_host(jaxpr: core.Jaxpr) -> ProgramPart:
    """Return a function that runs the equations on the host and keeps what it has compiled."""
    arguments = [*jaxpr.constvars, *jaxpr.invars]
    if not _contains_requests(jaxpr):
        return _compile(arguments, jaxpr.outvars, jaxpr.eqns)
    # Every equation with a request is a group of its own. Those between two requests are one group.
    groups: list[list[core.JaxprEqn]] = []
    for eqn in jaxpr.eqns:
        if not groups or _makes_request(eqn) or _makes_request(groups[-1][-1]):
            groups.append([])
        groups[-1].append(eqn)

    steps: list[tuple[ProgramPart, Sequence[Any], Sequence[Any]]] = []
    needed = set(_variables(jaxpr.outvars))  # by the groups after the current one
    for group in reversed(groups):
        computed = dict.fromkeys(v for eqn in group for v in eqn.outvars)
        outputs = [v for v in computed if v in needed]
        inputs = list(dict.fromkeys(v for eqn in group for v in _variables(eqn.invars)))
        inputs = [v for v in inputs if v not in computed]
        needed |= set(inputs)
        if _makes_request(group[0]):
            (eqn,) = group
            steps.append((_interpret(eqn), eqn.invars, eqn.outvars))
        elif outputs or any(eqn.effects for eqn in group):
            steps.append((_compile(inputs, outputs, group), inputs, outputs))

    def run(reader, *values):
        known = dict(zip(arguments, values, strict=True))
        value_of = lambda v: v.val if isinstance(v, core.Literal) else known[v]
        for step, inputs, outputs in reversed(steps):
            known.update(zip(outputs, step(reader, *map(value_of, inputs)), strict=True))
        return [value_of(v) for v in jaxpr.outvars]

    return run


def _variables(atoms: Iterable[Any]) -> list[Any]:
    return [v for v in atoms if not isinstance(v, core.Literal)]


def _compile(
    inputs: Sequence[Any], outputs: Sequence[Any], eqns: Sequence[core.JaxprEqn]
) -> ProgramPart:
    """Compile consecutive equations into one program."""

    @jax.jit
    def run(*values):
        known = dict(zip(inputs, values, strict=True))
        value_of = lambda v: v.val if isinstance(v, core.Literal) else known[v]
        for eqn in eqns:
            params = eqn.primitive.get_bind_params(eqn.params)
            results = eqn.primitive.bind(*map(value_of, eqn.invars), **params)
            results = results if eqn.primitive.multiple_results else [results]
            known.update(zip(eqn.outvars, results, strict=True))
        return [value_of(v) for v in outputs]

    return lambda reader, *values: run(*values)


def close_jaxpr(program: core.ClosedJaxpr) -> ProgramPart:
    """Return a function that runs a traced program with its constants on the host."""
    step, constants = run_on_host(program.jaxpr), program.consts
    return lambda reader, *values: step(reader, *constants, *values)


def _interpret(eqn: core.JaxprEqn) -> ProgramPart:
    """Return a function that runs an equation which makes a request, or contains one."""
    name = eqn.primitive.name
    if eqn.primitive is total_p:
        request = Request(**eqn.params)
        if uses_kept(eqn.invars, **eqn.params):
            return lambda reader, *constants: reader.total(request, constants[-1], *constants[:-1])
        return lambda reader, *constants: reader.total(request, None, *constants)
    if eqn.primitive is keep_p:
        request = Request(**eqn.params)
        return lambda reader, *constants: reader.keep(request, *constants)
    if eqn.primitive is fold_p:
        request = Request(**eqn.params)
        return lambda reader, *operands: reader.fold(request, *operands)
    if name in CONTROL_FLOW:
        return CONTROL_FLOW[name](**eqn.params)
    for program in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        if program in eqn.params:  # a call
            return close_jaxpr(eqn.params[program])
    raise NotImplementedError(
        f"a sum over the rows of a stream cannot be computed inside {name!r}: pass an array "
        "instead of the stream."
    )


class Request:
    """The function of a request: of a chunk of rows, or of a carry and a chunk."""

    def __init__(self, function: core.Jaxpr) -> None:
        self.shapes = [shape_of(v) for v in function.outvars]
        self._step = run_on_host(function)

    def __call__(self, *values: jax.Array) -> Sequence[jax.Array]:
        """Return the function's values for its constants and arguments."""
        return self._step(None, *values)


# ---- control flow ------------------------------------------------------------------------------


def _while(cond_jaxpr, body_jaxpr, cond_nconsts: int, body_nconsts: int, **_) -> ProgramPart:
    condition, body = close_jaxpr(cond_jaxpr), close_jaxpr(body_jaxpr)

    def run(reader, *values):
        cond_consts, values = values[:cond_nconsts], values[cond_nconsts:]
        body_consts, carry = values[:body_nconsts], values[body_nconsts:]
        while condition(reader, *cond_consts, *carry)[0]:
            carry = body(reader, *body_consts, *carry)
        return carry

    return run


def _cond(branches, **_) -> ProgramPart:
    steps = [close_jaxpr(branch) for branch in branches]

    def run(reader, index, *values):
        return steps[int(np.clip(int(index), 0, len(steps) - 1))](reader, *values)

    return run


def _scan(
    jaxpr,
    length: int,
    reverse: bool,
    num_consts: int | None = None,
    num_carry: int | None = None,
    ft_in: Any = None,
    **_,
) -> ProgramPart:
    if ft_in is not None:  # JAX 0.12 replaced num_consts and num_carry with ft_in
        num_consts, num_carry = (len(list(part)) for part in ft_in.unpack()[:2])
    assert num_consts is not None
    assert num_carry is not None
    body, last = close_jaxpr(jaxpr), num_consts + num_carry
    slice_at = jax.jit(lambda arrays, i: [array[i] for array in arrays])

    def run(reader, *values):
        constants, carry, arrays = values[:num_consts], values[num_consts:last], values[last:]
        outputs = []
        for i in reversed(range(length)) if reverse else range(length):
            results = body(reader, *constants, *carry, *slice_at(arrays, i))
            carry = results[:num_carry]
            outputs.append(results[num_carry:])
        outputs = outputs[::-1] if reverse else outputs
        return [*carry, *map(jnp.stack, zip(*outputs, strict=True))]

    return run


CONTROL_FLOW: dict[str, Callable[..., ProgramPart]] = {
    "while": _while,
    "cond": _cond,
    "scan": _scan,
}
