"""Runs a traced program whose sums over rows only the host can make.

A program on the device cannot wait for a disk, and a callback in its midst that calls JAX again may
wait for itself. So the host walks the program instead: a loop or a branch that asks for rows is
taken by Python, one round after another, and all that lies between two requests is compiled. The
program is the one that an array would get: no algorithm knows where its rows come from.

A request is a primitive. `total_p` asks for a sum over blocks: operands the center (d,) and what
`function` closes over, parameters the traced `function` and the block it was traced for. `fold_p`
asks for a function to be led through the chunks of rows, one after another: operands what it closes
over and what it carries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.interpreters import ad, batching

total_p = core.Primitive("total_over_stream")
total_p.multiple_results = True
total_p.def_abstract_eval(
    lambda *operands, function, block_rows: [v.aval for v in function.outvars]
)


def total(center, function, block, block_rows: int) -> list[jax.Array]:
    """Σ over blocks of function(x, weight), a list, for blocks of these shapes."""
    traced = jax.make_jaxpr(function)(*block)
    return total_p.bind(center, *traced.consts, function=traced.jaxpr, block_rows=block_rows)


def _total_jvp(primals, tangents, *, function, block_rows):
    """A sum and its slope are one sum. Where coordinates start is held fixed."""
    (center, *constants), (fixed, *along) = primals, tangents
    moving = [i for i, tangent in enumerate(along) if type(tangent) is not ad.Zero]
    if type(fixed) is not ad.Zero:
        raise NotImplementedError("a stream's rows have no derivative by their coordinates.")

    def of_block(x, weight):
        def value(*moved):
            own = list(constants)
            for i, constant in zip(moving, moved, strict=True):
                own[i] = constant
            return core.jaxpr_as_fun(core.ClosedJaxpr(function, own))(x, weight)

        return jax.jvp(value, [constants[i] for i in moving], [along[i] for i in moving])

    found = total(center, of_block, _block(function), block_rows)
    return found[: len(found) // 2], found[len(found) // 2 :]


def _total_batched(operands, axes, *, function, block_rows):
    """Sums side by side are one sum."""
    (center, *constants), (fixed, *axes) = operands, axes
    if fixed is not None:
        raise NotImplementedError("a stream's rows have the same coordinates in every lane.")

    def of_block(x, weight):
        one = lambda *own: core.jaxpr_as_fun(core.ClosedJaxpr(function, own))(x, weight)
        return jax.vmap(one, axes)(*constants)

    found = total(center, of_block, _block(function), block_rows)
    return found, [0] * len(found)


def _block(function) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in function.invars]


ad.primitive_jvps[total_p] = _total_jvp
batching.primitive_batchers[total_p] = _total_batched

fold_p = core.Primitive("fold_over_stream")
fold_p.multiple_results = True
fold_p.def_abstract_eval(lambda *operands, function: [v.aval for v in function.outvars])

# A piece of the program: (read, *values) -> values. `read.total(request, *operands)` and
# `read.fold(request, *operands)` do what is asked for: see `reading.py`.
Piece = Callable[..., Sequence[Any]]


def _asks_for_rows(jaxpr) -> bool:
    return any(_asks(eqn) for eqn in jaxpr.eqns)


def _asks(eqn) -> bool:
    if eqn.primitive in (total_p, fold_p):
        return True
    return any(map(_asks_for_rows, core.jaxprs_in_params(eqn.params)))


def run_on_host(jaxpr) -> Piece:
    """The equations as a piece that the host runs; what it compiles is kept for the next run."""
    arguments = [*jaxpr.constvars, *jaxpr.invars]
    if not _asks_for_rows(jaxpr):
        return _compiled(arguments, jaxpr.outvars, jaxpr.eqns)
    groups: list[list] = []  # requests alone, and what lies between them together
    for eqn in jaxpr.eqns:
        if not groups or _asks(eqn) or _asks(groups[-1][-1]):
            groups.append([])
        groups[-1].append(eqn)

    pieces, wanted = [], set(_variables(jaxpr.outvars))
    for group in reversed(groups):
        made = dict.fromkeys(v for eqn in group for v in eqn.outvars)
        outputs = [v for v in made if v in wanted]
        inputs = list(dict.fromkeys(v for eqn in group for v in _variables(eqn.invars)))
        inputs = [v for v in inputs if v not in made]
        wanted |= set(inputs)
        if _asks(group[0]):
            (eqn,) = group
            pieces.append((_by_host(eqn), eqn.invars, eqn.outvars))
        elif outputs or any(eqn.effects for eqn in group):
            pieces.append((_compiled(inputs, outputs, group), inputs, outputs))

    def run(read, *values):
        known = dict(zip(arguments, values, strict=True))
        value_of = lambda v: v.val if isinstance(v, core.Literal) else known[v]
        for piece, inputs, outputs in reversed(pieces):
            known.update(zip(outputs, piece(read, *map(value_of, inputs)), strict=True))
        return [value_of(v) for v in jaxpr.outvars]

    return run


def _variables(atoms) -> list:
    return [v for v in atoms if not isinstance(v, core.Literal)]


def _compiled(inputs, outputs, eqns) -> Piece:
    """Equations in a row as one program."""

    @jax.jit
    def run(*values):
        known = dict(zip(inputs, values, strict=True))
        value_of = lambda v: v.val if isinstance(v, core.Literal) else known[v]
        for eqn in eqns:
            params = eqn.primitive.get_bind_params(eqn.params)
            found = eqn.primitive.bind(*map(value_of, eqn.invars), **params)
            found = found if eqn.primitive.multiple_results else [found]
            known.update(zip(eqn.outvars, found, strict=True))
        return [value_of(v) for v in outputs]

    return lambda read, *values: run(*values)


def close_jaxpr(program) -> Piece:
    """A traced program with its constants, as a piece for the host to run."""
    piece, constants = run_on_host(program.jaxpr), program.consts
    return lambda read, *values: piece(read, *constants, *values)


def _by_host(eqn) -> Piece:
    """An equation that asks for rows, or has a program within that does."""
    name = eqn.primitive.name
    if eqn.primitive is total_p:
        request = Request(**eqn.params)
        return lambda read, *operands: read.total(request, *operands)
    if eqn.primitive is fold_p:
        request = Request(**eqn.params)
        return lambda read, *operands: read.fold(request, *operands)
    if name in HOST:
        return HOST[name](**eqn.params)
    for program in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        if program in eqn.params:  # a call
            return close_jaxpr(eqn.params[program])
    raise NotImplementedError(f"a stream cannot be summed inside {name!r}: use an array there.")


class Request:
    """A function of rows, from within a program: of a block of them, or of what is carried and a
    chunk of them."""

    def __init__(self, function, block_rows: int | None = None):
        self.block_rows = block_rows
        self.shapes = [v.aval for v in function.outvars]
        self._piece = run_on_host(function)

    def __call__(self, *values):
        """The function of its constants and arguments."""
        return self._piece(None, *values)


def _while(cond_jaxpr, body_jaxpr, cond_nconsts, body_nconsts, **_) -> Piece:
    condition, body = close_jaxpr(cond_jaxpr), close_jaxpr(body_jaxpr)

    def run(read, *values):
        of_condition, values = values[:cond_nconsts], values[cond_nconsts:]
        of_body, carry = values[:body_nconsts], values[body_nconsts:]
        while condition(read, *of_condition, *carry)[0]:
            carry = body(read, *of_body, *carry)
        return carry

    return run


def _cond(branches, **_) -> Piece:
    pieces = [close_jaxpr(branch) for branch in branches]

    def run(read, index, *values):
        return pieces[int(np.clip(int(index), 0, len(pieces) - 1))](read, *values)

    return run


def _scan(jaxpr, length, reverse, num_consts=None, num_carry=None, ft_in=None, **_) -> Piece:
    if ft_in is not None:  # as JAX says it from 0.12 on
        num_consts, num_carry = (len(list(part)) for part in ft_in.unpack()[:2])
    body, last = close_jaxpr(jaxpr), num_consts + num_carry
    at = jax.jit(lambda arrays, i: [array[i] for array in arrays])

    def run(read, *values):
        constants, carry, arrays = values[:num_consts], values[num_consts:last], values[last:]
        rounds = []
        for i in reversed(range(length)) if reverse else range(length):
            found = body(read, *constants, *carry, *at(arrays, i))
            carry = found[:num_carry]
            rounds.append(found[num_carry:])
        rounds = rounds[::-1] if reverse else rounds
        return [*carry, *map(jnp.stack, zip(*rounds, strict=True))]

    return run


HOST = {"while": _while, "cond": _cond, "scan": _scan}
