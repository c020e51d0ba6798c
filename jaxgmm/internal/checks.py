"""Validation of arguments: ValueErrors that say what is wrong and what to do.

Values are checked only where there are values. Inside jit, vmap or grad an argument is a tracer:
then only its shape and dtype are checked.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from . import forks
from .array_like import to_array, unmasked


def traced(*trees: Any) -> bool:
    """Return whether any leaf is a tracer, so that there are no values to check."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(trees))


def float_dtype(dtype: DTypeLike, like: DTypeLike | None = None) -> np.dtype:
    """Return the dtype in which to compute with numbers of the given dtype.

    float32 and float64 stay as they are, float16 and bfloat16 become float32. Whole numbers and
    booleans become `like`, or JAX's default if it is None.
    """
    wide: Any
    if jnp.issubdtype(dtype, jnp.floating):
        wide = jnp.promote_types(dtype, jnp.float32)
    else:
        wide = like if like is not None else jnp.float64
    return np.dtype(jax.dtypes.canonicalize_dtype(wide))


def array(values: Any, name: str) -> np.ndarray | jax.Array:
    """Return anything that holds real numbers as a NumPy or JAX array; missing entries are NaN."""
    forks.raise_if_forked()
    result = to_array(values, name)
    if isinstance(result, np.ndarray) and result.dtype.kind in "fiu":
        # JAX has no long double, and no other byte order than the machine's.
        long_double = result.dtype.kind == "f" and result.dtype.itemsize > 8
        dtype = np.dtype(np.float64) if long_double else result.dtype.newbyteorder("=")
        result = result.astype(dtype, copy=False)
    if jnp.issubdtype(result.dtype, jnp.complexfloating):
        raise ValueError(
            f"{name} is complex: pass real numbers, e.g. its real and imaginary parts."
        )
    return result


def cast(values: np.ndarray | jax.Array, name: str, dtype: DTypeLike) -> jax.Array:
    """Return `values` as a JAX array of another dtype. NumPy arrays are checked by `narrow`."""
    if isinstance(values, jax.Array):
        return values.astype(dtype)
    contiguous = np.ascontiguousarray(narrow(values, name, dtype))
    return jnp.asarray(contiguous.reshape(values.shape))  # a number became an array of one


def narrow(values: np.ndarray, name: str, dtype: DTypeLike) -> np.ndarray:
    """Return `values` with another dtype, copied only if necessary.

    Raises ValueError if a number is too large for a narrower dtype.
    """
    with np.errstate(over="ignore"):
        narrow = values.astype(dtype, copy=False)
    too_large = narrow.dtype.itemsize < values.dtype.itemsize and not np.isfinite(narrow).all()
    if too_large and (np.isfinite(values) & ~np.isfinite(narrow)).any():
        raise ValueError(
            f"{name} contains numbers too large for {narrow.dtype}: rescale it, or compute in "
            "float64 under `with jax.enable_x64(True):`."
        )
    return narrow


def random_key(key: Any) -> None:
    """Check that `key` is a single JAX random key, typed or of the old style."""
    forks.raise_if_forked()
    typed = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    old = not typed and getattr(key, "dtype", None) == np.uint32 and np.shape(key) == (2,)
    if not (typed and key.shape == ()) and not old:
        raise ValueError(
            "key is not one JAX random key: pass e.g. jax.random.key(0), and use jax.vmap for "
            "several keys."
        )


def whole(value: Any, name: str, least: int, most: float = np.inf) -> int:
    """Check that `value` is a whole number from `least` to `most`, and return it as an int."""
    if traced(value):
        raise ValueError(
            f"{name} determines the shapes of the program: pass a Python int, not a traced value."
        )
    try:
        good = not isinstance(value, (str, bytes, bool)) and int(value) == value
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good or not least <= value <= most:
        upper = "or more" if most == np.inf else f"to {most}"
        raise ValueError(f"{name} is {value!r}: it must be a whole number, {least} {upper}.")
    return int(value)


def distinct_wholes(values: Any, name: str, least: int) -> tuple[int, ...]:
    """Check distinct whole numbers, or one, and return them in ascending order."""
    try:
        listed = [values] if np.ndim(values) == 0 else list(values)
    except ValueError:
        listed = [values]
    if not listed:
        raise ValueError(f"{name} is empty: pass at least one whole number, e.g. range(1, 11).")
    numbers = [whole(value, name, least) for value in listed]
    not_repeated(numbers, name)
    return tuple(sorted(numbers))


def not_repeated(values: list[Any], name: str) -> None:
    """Check that a list is not empty and contains nothing twice."""
    if not values:
        raise ValueError(f"{name} is empty: pass at least one.")
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{name} lists {value!r} more than once: pass each value once.")


def _format(value: Any) -> str:
    """Format a number as a user would write it, even if it is a NumPy or JAX scalar."""
    return repr(value) if isinstance(value, str) else str(value)


def not_negative(value: Any, name: str) -> Any:
    """Check that `value` is a finite number of at least 0, or a tracer, and return it."""
    if not traced(value):
        try:
            good = float(value) >= 0 and float(value) < np.inf
        except (TypeError, ValueError):
            good = False
        if not good:
            raise ValueError(f"{name} is {_format(value)}: it must be a finite number, 0 or more.")
    return value


def choice(value: Any, name: str, options: Collection[str]) -> None:
    """Check that `value` is one of the options."""
    if not isinstance(value, str) or value not in options:
        known = ", ".join(repr(option) for option in options)
        raise ValueError(f"unknown {name} {value!r}: choose one of {known}.")


def one_mixture(mixture: Any, name: str = "mixture") -> None:
    """Check that `mixture` is a single mixture, not a batch, with finite parameters.

    Absent components have logits of −inf. Parameters that are tracers are not checked.
    """
    forks.raise_if_forked()
    if not hasattr(mixture, "means"):
        within = hasattr(mixture, "mixture")
        remedy = "pass the mixture in its attribute `mixture`" if within else "pass a Mixture"
        raise ValueError(f"mixture is a {type(mixture).__name__}: {remedy}.")
    if np.ndim(mixture.means) != 2:
        raise ValueError(
            f"this is a batch of mixtures (means have shape {np.shape(mixture.means)}): use "
            "jax.vmap, or select one mixture, e.g. of a batch of fits by best(fits).mixture."
        )
    if not traced(mixture):
        _finite_mixture(mixture, name)


def _finite_mixture(mixture: Any, name: str) -> None:
    """Check that all parameters are finite; the error names the first component that is not."""
    logits = np.asarray(mixture.logits)
    if not -np.inf < logits.max() < np.inf:
        raise ValueError(
            f"the {name}'s weights are not finite: its logits are {logits}. Every logit must be a "
            "number, or −inf for an absent component, and at least one must be a number."
        )
    covariance = jax.tree.leaves(mixture.covariance)
    parts = [("mean", mixture.means), *(("covariance", leaf) for leaf in covariance)]
    for part, leaf in parts:
        unmasked(leaf, f"the {name}'s {part}")
        values = np.asarray(leaf)
        if np.isfinite(values).all():
            continue
        bad = int(np.argmin(np.isfinite(values).all(axis=tuple(range(1, values.ndim)))))
        what = "NaN" if np.isnan(values[bad]).any() else "infinity"
        where = f"component {bad} has {what} in its {part}"
        if len(values) < len(logits):
            where = f"components have {what} in the covariance that they share"
        raise ValueError(
            f"the {name}'s {where}: compute it again with fewer components or a prior, which "
            "keep covariances from becoming singular."
        )


def positive(value: Any, name: str) -> None:
    """Check that `value` is a finite number above 0, or a tracer."""
    if not traced(value) and not 0 < float(value) < np.inf:
        raise ValueError(f"{name} is {_format(value)}: it must be a finite number above 0.")


def between(value: Any, name: str, least: float, most: float) -> None:
    """Check that `value` is a number in [least, most]."""
    try:
        inside = least <= float(value) <= most
    except (TypeError, ValueError):
        inside = False
    if not inside:
        raise ValueError(f"{name} is {_format(value)}: it must be a number from {least} to {most}.")


def at_least_one(value: Any, name: str) -> None:
    """Check that `value` is a finite number of at least 1, or a tracer."""
    if not traced(value) and not 1 <= float(value) < np.inf:
        raise ValueError(f"{name} is {_format(value)}: it must be a finite number, 1 or more.")


def algorithm(value: Any) -> None:
    """Check that `value` is a hashable object with methods init and move, as `fit` needs it."""
    if isinstance(value, type) or not (hasattr(value, "init") and hasattr(value, "move")):
        raise ValueError(
            f"algorithm is {value!r}: pass an instance with init and move, e.g. EM(), a name, e.g. "
            "'em', or an optax optimizer as Gradient(optimizer)."
        )
    try:
        hash(value)
    except TypeError:
        raise ValueError(
            f"algorithm {value!r} is not hashable: use a frozen dataclass whose settings are plain "
            "numbers."
        ) from None


def callback(value: Any) -> None:
    """Check that `value` is a function or None."""
    if value is not None and not callable(value):
        raise ValueError(
            f"callback is {value!r}: pass a function of (step, objective, em_gain), or None."
        )


def statistics(value: Any) -> None:
    """Check that `value` is the statistics that an E-step returns."""
    if not hasattr(value, "mass"):
        raise ValueError(f"statistics is a {type(value).__name__}: pass those of e_step.")
