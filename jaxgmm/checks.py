"""The front door: every ValueError about an argument, in a sentence that says what to do.

Checks look at values only where there are values. Inside jit, vmap or grad an argument is a tracer:
then its shape and dtype are checked, and its values are the caller's affair.
"""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np

from .rows import Source

ROWS_AT_A_TIME = 1 << 16


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
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(f"{name} has masked entries: missing values are not supported yet.")
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


def cast(values: np.ndarray | jax.Array, name: str, dtype) -> jax.Array:
    """`values` in `dtype`. Raises ValueError if they are finite and do not fit it."""
    if isinstance(values, jax.Array):
        return values.astype(dtype)
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(values, dtype)
    if narrow.dtype.itemsize < values.dtype.itemsize and not np.isfinite(narrow).all():
        raise ValueError(
            f"{name} holds numbers too large for {narrow.dtype}: rescale it, or compute in float64 "
            "under `with jax.enable_x64(True):`."
        )
    return jnp.asarray(narrow)


def _warn_if_rounding_costs(x: np.ndarray, dtype) -> None:
    """Warns if rounding x to a narrower dtype moves a number by 1e-4 of its column's spread."""
    if np.can_cast(x.dtype, dtype):
        return
    for column, values in enumerate(x.T):
        with np.errstate(over="ignore", invalid="ignore"):
            moved = np.max(np.abs(values - values.astype(dtype)))
            spread = np.std(values, dtype=np.float64)
        if np.isfinite(moved) and moved > 1e-4 * spread:
            warnings.warn(
                f"x is {x.dtype} and is computed in {dtype} because JAX's 64-bit mode is off; "
                f"column {column} lies so far from zero against its spread that rounding costs "
                "accuracy. Subtract its mean first, or compute in float64 under `with "
                "jax.enable_x64(True):`.",
                UserWarning,
                stacklevel=5,
            )
            return


def first_bad_row(x: np.ndarray | jax.Array) -> int | None:
    """The first row with a NaN or an infinity, or None."""
    x = np.asarray(x)
    for start in range(0, len(x), ROWS_AT_A_TIME):
        good = np.isfinite(x[start : start + ROWS_AT_A_TIME]).all(axis=1)
        if not good.all():
            return start + int(np.argmin(good))
    return None


def data(x, *, like=None) -> jax.Array:
    """x as a finite (n, d) array in the dtype it is computed in.

    Raises ValueError for anything else; warns where float64 numbers lose accuracy in float32.
    """
    if isinstance(x, Source):
        raise ValueError(f"x is {type(x).__name__}(…), and this needs an array (n, d).")
    found = array(x, "x")
    if found.ndim == 1:
        raise ValueError(
            f"x has shape {found.shape}: rows and columns are needed. For one feature pass "
            "x[:, None], for one row x[None, :]."
        )
    if found.ndim != 2:
        raise ValueError(f"x has shape {found.shape}: pass (n, d), n rows of d features.")
    if 0 in found.shape:
        what = "rows" if found.shape[0] == 0 else "columns"
        raise ValueError(f"x has shape {found.shape}: it has no {what}.")
    dtype = float_dtype(found.dtype, like)
    if not traced(found):
        if jnp.issubdtype(found.dtype, jnp.floating):
            bad = first_bad_row(found)
            if bad is not None:
                raise ValueError(
                    f"row {bad} of x holds NaN or infinity: drop or fill such rows (missing values "
                    "are not supported yet)."
                )
        if isinstance(found, np.ndarray):
            _warn_if_rounding_costs(found, dtype)
    return cast(found, "x", dtype)


def weights_of_rows(weight, n: int, dtype) -> jax.Array | None:
    """Row weights as (n,), or None for all ones. Raises ValueError for anything else."""
    if weight is None:
        return None
    found = array(weight, "weight")
    if found.shape != (n,):
        raise ValueError(f"weight has shape {found.shape}: x has {n} rows, so pass shape ({n},).")
    if not traced(found):
        values = np.asarray(found)
        if not np.isfinite(values).all() or (values < 0).any():
            bad = int(np.argmax(~(np.isfinite(values) & (values >= 0))))
            raise ValueError(
                f"weight[{bad}] is {values[bad]}: row weights are finite and not negative."
            )
        if not values.any():
            raise ValueError("all row weights are zero: give some row a positive weight.")
    return cast(found, "weight", dtype)


def squares_fit(x: jax.Array) -> None:
    """The numbers in x are of a size whose squares, summed, stay in the range of their dtype."""
    if not traced(x):
        values = np.asarray(x)  # NumPy: inside a trace a jnp call would give a tracer
        extent_fits(values.min(axis=0), values.max(axis=0))


def extent_fits(low: np.ndarray, high: np.ndarray) -> None:
    """Features that run from `low` to `high` (d,) have squares in the range of their dtype."""
    limits = np.finfo(low.dtype)
    most, least = float(limits.max) ** 0.5 * 1e-3, float(limits.tiny) ** 0.5 * 1e3
    extent = high.astype(np.float64) - low
    bad = (np.maximum(-low, high) > most) | ((extent > 0) & (extent < least))
    if bad.any():
        column = int(np.argmax(bad))
        raise ValueError(
            f"column {column} of x runs from {low[column]:.3g} to {high[column]:.3g}: its squares "
            f"leave the range of {low.dtype}. Rescale it."
        )


def random_key(key) -> None:
    """One JAX random key, of either style."""
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


def folds(value, n: int) -> int:
    """A number of folds that n rows can be dealt to; 0 for none."""
    value = whole(value, "folds", 0)
    if value == 1 or value > n:
        raise ValueError(f"folds is {value}: give 0, or 2 to {n} (the number of rows).")
    return value


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


def one_mixture(mixture) -> None:
    """A single mixture: not a batch of them, and not something else."""
    if not hasattr(mixture, "means"):
        raise ValueError(f"mixture is a {type(mixture).__name__}: pass a Mixture.")
    if np.ndim(mixture.means) != 2:
        raise ValueError(
            f"this is a batch of mixtures (means have shape {np.shape(mixture.means)}): use "
            "jax.vmap, or take one, e.g. of a batch of fits by best(fits).mixture."
        )


def same_features(mixture_features: int, columns: int) -> None:
    """x has as many columns as the mixture has features."""
    if columns != mixture_features:
        raise ValueError(
            f"x has {columns} columns and the mixture {mixture_features} features: pass the "
            "features that the mixture was made for, in their order."
        )


def distinct_rows(x, weight, most: int) -> int:
    """How many distinct rows of positive weight there are, up to `most`."""
    return distinct_in([(x, weight)], most)


def distinct_in(pieces, most: int) -> int:
    """How many distinct rows of positive weight there are in pieces (x, weight), up to `most`;
    looks no further than it must."""
    seen = None
    for x, weight in pieces:
        rows = np.asarray(x)
        if weight is not None:
            rows = rows[np.asarray(weight) > 0]
        seen, start, size = rows[:0] if seen is None else seen, 0, 4 * most
        while start < len(rows) and len(seen) < most:
            seen = np.unique(np.concatenate([seen, rows[start : start + size]]), axis=0)
            start, size = start + size, 4 * size
        if len(seen) >= most:
            return most
    return len(seen)


def enough_distinct_rows(x: jax.Array, weight, k: int) -> None:
    """At least k distinct rows of positive weight."""
    if not traced(x, weight):
        enough_distinct_in([(x, weight)], k)


def enough_distinct_in(pieces, k: int) -> None:
    """At least k distinct rows of positive weight in pieces (x, weight)."""
    found = distinct_in(pieces, k)
    if found < k:
        raise ValueError(
            f"{k} components need {k} distinct rows, and x has {found} (of positive weight): use "
            "fewer components."
        )


def responsibilities_of_rows(resp, n: int, dtype) -> jax.Array:
    """Responsibilities as (n, k): finite, not negative. Raises ValueError for anything else."""
    found = array(resp, "resp")
    if found.ndim != 2 or found.shape[0] != n or found.shape[1] < 1:
        raise ValueError(
            f"resp has shape {found.shape}: pass (n, k), here {n} rows and a column per component."
        )
    if not traced(found):
        values = np.asarray(found)
        good = np.isfinite(values).all(axis=1) & (values >= 0).all(axis=1)
        if not good.all():
            raise ValueError(
                f"row {int(np.argmin(good))} of resp holds a negative number, NaN or infinity: "
                "responsibilities are shares between 0 and 1."
            )
    return cast(found, "resp", dtype)


def same_components(k: int, resp: jax.Array) -> None:
    """resp has a column for each of the mixture's k components."""
    if resp.shape[1] != k:
        raise ValueError(f"resp has {resp.shape[1]} columns and the mixture {k} components.")


def labels_of_rows(labels, n: int, n_components: int | None) -> tuple[jax.Array, int]:
    """Labels 0 … k−1 as (n,) integers, and k. Raises ValueError for anything else."""
    found = array(labels, "labels")
    if found.shape != (n,):
        raise ValueError(f"labels has shape {found.shape}: x has {n} rows, so pass shape ({n},).")
    if n_components is None:
        if traced(found):
            raise ValueError("n_components is needed where labels are traced.")
        n_components = max(int(np.max(np.asarray(found))) + 1, 1)
    k = whole(n_components, "n_components", 1)
    if not traced(found):
        values = np.asarray(found)
        bad = ~((values == np.floor(values)) & (values >= 0) & (values < k))
        if bad.any():
            first = int(np.argmax(bad))
            raise ValueError(
                f"labels[{first}] is {values[first]}: with {k} components, labels are the whole "
                f"numbers 0 to {k - 1}."
            )
    return jnp.asarray(found).astype(jnp.int32), k


def mixture_parameters(weights, means, covariances) -> None:
    """Weights, means and dense covariances (k, d, d) as NumPy arrays describe a mixture."""
    for name, values in (("weights", weights), ("means", means), ("covariances", covariances)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} hold NaN or infinity.")
    if (weights < 0).any():
        raise ValueError(f"weights[{int(np.argmax(weights < 0))}] is negative: weights are shares.")
    if abs(weights.sum() - 1) > 1e-5:
        raise ValueError(f"weights sum to {weights.sum():.6g}, not 1: divide them by their sum.")
    for i, sigma in enumerate(covariances):
        scale = np.sqrt(np.abs(np.diag(sigma)))
        if (np.abs(sigma - sigma.T) > 1e-5 * np.outer(scale, scale)).any():
            raise ValueError(
                f"covariances[{i}] is not symmetric: pass (covariance + covariance.T) / 2."
            )
        if (np.diag(sigma) <= 0).any():
            feature = int(np.argmax(np.diag(sigma) <= 0))
            raise ValueError(
                f"covariances[{i}] is not positive definite: feature {feature} has variance "
                f"{sigma[feature, feature]:.6g}."
            )
        try:
            np.linalg.cholesky(sigma / np.outer(scale, scale))
        except np.linalg.LinAlgError:
            raise ValueError(
                f"covariances[{i}] is not positive definite: some combination of the features has "
                "no positive variance."
            ) from None


def held_by_family(covariances, kept, family: str, own_shape) -> None:
    """Dense covariances that a family holds without loss, given what it keeps of them."""
    scale = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    if (np.abs(kept - covariances) > 1e-5 * scale[:, :, None] * scale[:, None, :]).any():
        raise ValueError(
            f"these dense covariances are not of family {family!r}: pass them in its own shape "
            f"{own_shape}, or choose another family."
        )


def rounding_of_means(means, covariances, dtype) -> None:
    """Warns if rounding means to `dtype` moves one by more than 1e-4 standard deviations."""
    widths = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    if (np.abs(means - means.astype(dtype)) > 1e-4 * widths).any():
        warnings.warn(
            f"means are rounded to {dtype} and lie so far from zero against the components' widths "
            "that this costs accuracy. Subtract a common offset first, or compute in float64 under "
            "`with jax.enable_x64(True):`.",
            UserWarning,
            stacklevel=4,
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


def shares(values, name: str, k: int) -> jax.Array:
    """k positive shares (k,) that sum to 1; tracers pass."""
    found = array(values, name)
    if found.shape != (k,):
        raise ValueError(f"{name} has shape {found.shape}: for {k} components pass ({k},).")
    if not traced(found):
        numbers = np.asarray(found, np.float64)
        if not (numbers > 0).all() or not abs(numbers.sum() - 1) <= 1e-5:
            raise ValueError(f"{name} are {numbers}: pass positive shares that sum to 1.")
    return jnp.asarray(found)


def at_least_one(value, name: str) -> None:
    """A real number of at least 1; tracers pass."""
    if not traced(value) and not 1 <= float(value) < np.inf:
        raise ValueError(f"{name} is {_shown(value)}: it must be a finite number, 1 or more.")


def algorithm(value) -> None:
    """An object with init and move, hashable, as `fit` needs it."""
    if isinstance(value, type) or not (hasattr(value, "init") and hasattr(value, "move")):
        raise ValueError(
            f"algorithm is {value!r}: pass an instance with init and move, e.g. EM(), or wrap an "
            "optax optimiser as Gradient(optimiser)."
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


def prior_scatter(scatter) -> None:
    """A symmetric matrix with no negative variance; tracers pass."""
    if traced(scatter):
        return
    matrix = np.asarray(scatter, np.float64)
    size = np.abs(matrix).max()
    if np.abs(matrix - matrix.T).max() > 1e-5 * size:
        raise ValueError("prior.scatter is not symmetric: pass (scatter + scatter.T) / 2.")
    if np.linalg.eigvalsh(matrix).min() < -1e-5 * size:
        raise ValueError("prior.scatter has a negative variance: it is a sum of outer products.")


def statistics(value) -> None:
    """The sums that an E-step makes."""
    if not hasattr(value, "mass"):
        raise ValueError(f"statistics is a {type(value).__name__}: pass those of e_step.")
