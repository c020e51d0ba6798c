"""The front door: every ValueError about an argument, in a sentence that says what to do.

Checks look at values only where there are values. Inside jit, vmap or grad an argument is a tracer:
then its shape and dtype are checked, and its values are the caller's affair.
"""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from . import forks

DEEPEST = 64  # lists within lists, as deep as NumPy goes


def traced(*trees) -> bool:
    """Whether any leaf is a tracer, so that there are no values to look at."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(trees))


def float_dtype(dtype, like=None) -> np.dtype:
    """The dtype to compute in: float32 or float64 stay, float16 and bfloat16 become float32, whole
    numbers and booleans take the dtype of `like` or JAX's default."""
    if jnp.issubdtype(dtype, jnp.floating):
        wide = jnp.promote_types(dtype, jnp.float32)
    else:
        wide = like if like is not None else jnp.float64
    return np.dtype(jax.dtypes.canonicalize_dtype(wide))


def array(values, name: str) -> np.ndarray | jax.Array:
    """Anything like an array, as a NumPy or JAX array of numbers; else raises ValueError."""
    forks.refuse()
    unmasked(values, name)
    try:
        found = values if isinstance(values, jax.Array) else np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} is not a rectangular array of numbers: {error}") from None
    if isinstance(found, np.ndarray) and found.dtype.kind in "fiu":
        wide = found.dtype.kind == "f" and found.dtype.itemsize > 8  # long double: JAX has none
        found = found.astype(np.float64 if wide else found.dtype.newbyteorder("="), copy=False)
    if jnp.issubdtype(found.dtype, jnp.complexfloating):
        raise ValueError(
            f"{name} is complex: pass real numbers, e.g. its real and imaginary parts."
        )
    if not (jnp.issubdtype(found.dtype, jnp.number) or found.dtype == bool):
        raise ValueError(
            f"{name} holds values of type {found.dtype}, not numbers: choose its numeric columns "
            "and convert them, e.g. with .astype(float)."
        )
    return found


def unmasked(values, name: str) -> None:
    """No masked entry of a NumPy masked array, nor of one within a list: NumPy would take the
    number behind the mask, a fill value such as −9999."""
    if _masked(values):
        raise ValueError(
            f"{name} has masked entries: drop or fill them (missing values are not supported yet)."
        )


def _masked(values) -> bool:
    """Level by level and by type, so that a long list of numbers is looked through in C."""
    if hasattr(values, "dtype"):
        return isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values)
    level = [values]
    for _ in range(DEEPEST):
        kinds = set(map(type, level))
        arrays = any(issubclass(kind, np.ma.MaskedArray) for kind in kinds)
        if arrays and any(np.ma.is_masked(each) for each in level):
            return True
        lists = {kind for kind in kinds if issubclass(kind, list | tuple)}
        if not lists:
            return False
        within = level if lists == kinds else (each for each in level if type(each) in lists)
        level = list(itertools.chain.from_iterable(within))
    return False


def cast(values: np.ndarray | jax.Array, name: str, dtype) -> jax.Array:
    """`values` in `dtype`. Raises ValueError if they are finite and do not fit it."""
    if isinstance(values, jax.Array):
        return values.astype(dtype)
    return jnp.asarray(np.ascontiguousarray(narrow(values, name, dtype)))


def narrow(values: np.ndarray, name: str, dtype) -> np.ndarray:
    """`cast`, for NumPy alone; not copied if there is nothing to do."""
    with np.errstate(over="ignore"):
        narrow = values.astype(dtype, copy=False)
    if narrow.dtype.itemsize < values.dtype.itemsize and not np.isfinite(narrow).all():
        raise ValueError(
            f"{name} holds numbers too large for {narrow.dtype}: rescale it, or compute in float64 "
            "under `with jax.enable_x64(True):`."
        )
    return narrow


def random_key(key) -> None:
    """One JAX random key, of either style."""
    forks.refuse()
    typed = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    old = not typed and getattr(key, "dtype", None) == np.uint32 and np.shape(key) == (2,)
    if not (typed and key.shape == ()) and not old:
        raise ValueError(
            "key is not one JAX random key: pass e.g. jax.random.key(0), and use jax.vmap for many."
        )


def whole(value, name: str, least: int, most: float = np.inf) -> int:
    """A whole number from `least` to `most`, as int."""
    if traced(value):
        raise ValueError(
            f"{name} sets the shape of the program: pass a plain int, not a traced value."
        )
    try:
        good = not isinstance(value, (str, bytes, bool)) and int(value) == value
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good or not least <= value <= most:
        upper = "or more" if most == np.inf else f"to {most}"
        raise ValueError(f"{name} is {value!r}: it must be a whole number, {least} {upper}.")
    return int(value)


def distinct_wholes(values, name: str, least: int) -> tuple[int, ...]:
    """Whole numbers, each once, in rising order; a single one is a list of one."""
    try:
        found = [values] if np.ndim(values) == 0 else list(values)
    except ValueError:
        found = [values]
    if not found:
        raise ValueError(f"{name} is empty: give at least one whole number, e.g. range(1, 11).")
    found = [whole(value, name, least) for value in found]
    not_repeated(found, name)
    return tuple(sorted(found))


def not_repeated(values: list, name: str) -> None:
    """Something, and nothing twice."""
    if not values:
        raise ValueError(f"{name} is empty: give at least one.")
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{name} lists {value!r} more than once.")


def _shown(value) -> str:
    """A number as a user would write it, whatever array it came in."""
    return repr(value) if isinstance(value, str) else str(value)


def not_negative(value, name: str):
    """A real number of at least zero; tracers pass."""
    if not traced(value):
        try:
            good = float(value) >= 0 and float(value) < np.inf
        except (TypeError, ValueError):
            good = False
        if not good:
            raise ValueError(f"{name} is {_shown(value)}: it must be a finite number, 0 or more.")
    return value


def choice(value, name: str, options) -> None:
    """One of the options."""
    if not isinstance(value, str) or value not in options:
        known = ", ".join(repr(option) for option in options)
        raise ValueError(f"unknown {name} {value!r}: choose one of {known}.")


def one_mixture(mixture, name: str = "mixture") -> None:
    """A single mixture of finite parameters: not a batch of them, and not something else. Absent
    components have logits of −inf. The parameters of tracers pass."""
    forks.refuse()
    if not hasattr(mixture, "means"):
        raise ValueError(f"mixture is a {type(mixture).__name__}: pass a Mixture.")
    if np.ndim(mixture.means) != 2:
        raise ValueError(
            f"this is a batch of mixtures (means have shape {np.shape(mixture.means)}): use "
            "jax.vmap, or take one, e.g. of a batch of fits by best(fits).mixture."
        )
    if not traced(mixture):
        _finite_mixture(mixture, name)


def _finite_mixture(mixture, name: str) -> None:
    """Raises ValueError that names the first component whose parameters are not finite."""
    logits = np.asarray(mixture.logits)
    if not -np.inf < logits.max() < np.inf:
        raise ValueError(
            f"the {name}'s weights are not finite: its logits are {logits}. Every logit must be a "
            "number, or −inf for an absent component, and one must be a number."
        )
    covariance = jax.tree.leaves(mixture.covariance)
    parts = [("mean", mixture.means), *(("covariance", leaf) for leaf in covariance)]
    for part, leaf in parts:
        unmasked(leaf, f"the {name}'s {part}")
        values = np.asarray(leaf)
        if np.isfinite(values).all():
            continue
        bad = int(np.argmin(np.isfinite(values).all(axis=tuple(range(1, values.ndim)))))
        found = "NaN" if np.isnan(values[bad]).any() else "infinity"
        whose = f"component {bad} has {found} in its {part}"
        if len(values) < len(logits):
            whose = f"components have {found} in the covariance that they share"
        raise ValueError(
            f"the {name}'s {whose}: make it anew with fewer components or a prior, which keep "
            "covariances from being singular."
        )


def positive(value, name: str) -> None:
    """A finite real number above 0; tracers pass."""
    if not traced(value) and not 0 < float(value) < np.inf:
        raise ValueError(f"{name} is {_shown(value)}: it must be a finite number above 0.")


def between(value, name: str, least: float, most: float) -> None:
    """A real number in [least, most]."""
    try:
        inside = least <= float(value) <= most
    except (TypeError, ValueError):
        inside = False
    if not inside:
        raise ValueError(f"{name} is {_shown(value)}: it must be a number from {least} to {most}.")


def at_least_one(value, name: str) -> None:
    """A real number of at least 1; tracers pass."""
    if not traced(value) and not 1 <= float(value) < np.inf:
        raise ValueError(f"{name} is {_shown(value)}: it must be a finite number, 1 or more.")


def algorithm(value) -> None:
    """An object with init and move, hashable, as `fit` needs it."""
    if isinstance(value, type) or not (hasattr(value, "init") and hasattr(value, "move")):
        raise ValueError(
            f"algorithm is {value!r}: pass an instance with init and move, e.g. EM(), or wrap an "
            "optax optimizer as Gradient(optimizer)."
        )
    try:
        hash(value)
    except TypeError:
        raise ValueError(
            f"algorithm {value!r} is not hashable: make its dataclass frozen, and give its "
            "settings as plain numbers."
        ) from None


def callback(value) -> None:
    """A function, or None."""
    if value is not None and not callable(value):
        raise ValueError(
            f"callback is {value!r}: pass a function of (step, objective, D), or None."
        )


def statistics(value) -> None:
    """The sums that an E-step makes."""
    if not hasattr(value, "mass"):
        raise ValueError(f"statistics is a {type(value).__name__}: pass those of e_step.")
