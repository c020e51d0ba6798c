"""What a fitted mixture says, as text: how it ended, what it is worth, where its components lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..fitting.status import Status
from ..internal import checks
from ..internal.feature_names import resolve_feature_names
from ..internal.tables import Table, align_columns
from ..mixture.densities import responsibilities
from ..mixture.mixture import Mixture
from ..selection.criteria import aic, bic, icl, n_parameters

COMPONENTS_ACROSS = 6
MOST_FEATURES = 20


def summary(found, x=None, *, weight=None, features: Sequence[str] | None = None) -> str:
    """A mixture or a fit as text, in the manner of mclust's summary.

    Args:
      found: a `Mixture` or a `Fit`. Of a batch of fits: how many ended how, and how high.
      x: (n, d) rows; with them n, BIC, ICL and the components' sizes (rows that are likelier of a
        component than of any other; with `weight`, their weight) are told too.
      weight: (n,) row weights, or None for ones.
      features: names of the d features; default: the columns of x if it is a table with names, else
        numbers.

    Returns:
      Lines of text. Means stand beside standard deviations, "mean ± deviation", in the units of the
      data. AIC, BIC and ICL are lower for a better mixture (mclust prints BIC with the other sign).

    Raises:
      ValueError: for x and weight that do not go with the mixture, a wrong number of names, and
        rows given for a batch.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> print(jaxgmm.summary(m, features=["height"]).splitlines()[0])
    Gaussian mixture, full covariances: 2 components in 1 feature
    """
    fit = None if isinstance(found, Mixture) else found
    mixture = found if fit is None else fit.mixture
    if np.ndim(mixture.means) != 2:
        if x is not None or fit is None:
            checks.one_mixture(mixture)
        return _of_batch(fit)
    names = resolve_feature_names(features, x, mixture.n_features)
    k, d = mixture.means.shape
    lines = [
        f"Gaussian mixture, {mixture.family} covariances: {_some(k, 'component')} in "
        f"{_some(d, 'feature')}",
        "",
        str(Table([_worth(mixture, fit, x, weight)])),
        "",
    ]
    if fit is not None:
        lines += [_how(fit), ""]
    sizes = None if x is None else _sizes(mixture, x, weight)
    return "\n".join([*lines, *_components(mixture, sizes, names)])


def _some(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("s" if count != 1 else "")


def _worth(mixture: Mixture, fit, x, weight) -> dict:
    p = n_parameters(mixture)
    if x is None:
        likelihood = {} if fit is None else {"log-likelihood": float(fit.log_likelihood)}
        criteria = {} if fit is None else {"AIC": 2 * p - 2 * float(fit.log_likelihood)}
        return likelihood | {"parameters": p} | criteria
    total = float(len(x) if weight is None else np.sum(np.asarray(weight, np.float64)))
    score = float(aic(mixture, x, weight=weight))
    return {
        "log-likelihood": p - score / 2,
        "n": int(total) if total == int(total) else total,
        "parameters": p,
        "AIC": score,
        "BIC": float(bic(mixture, x, weight=weight)),
        "ICL": float(icl(mixture, x, weight=weight)),
    }


def _how(fit) -> str:
    passes = float(fit.passes)
    shown = f"{passes:.0f}" if passes == round(passes) else f"{passes:.1f}"
    shown += " pass" if passes == 1 else " passes"
    return (
        f"{Status(int(fit.status)).name} after {_some(int(fit.steps), 'step')} and {shown} "
        f"over the rows; objective {float(fit.objective):.2f}, D = {float(fit.em_gain):.1e}"
    )


def _sizes(mixture: Mixture, x, weight) -> list[str]:
    likeliest = np.argmax(np.asarray(responsibilities(mixture, x)), axis=1)
    weight = None if weight is None else np.asarray(weight, np.float64)
    sizes = np.bincount(likeliest, weight, minlength=mixture.n_components)
    return [f"{size:.0f}" if size == round(size) else f"{size:.2f}" for size in sizes]


def _number(value: float, places: int) -> str:
    return f"{value:.{places}f}" if places < 7 else f"{value:.3g}"


def _components(mixture: Mixture, sizes: list[str] | None, names: list[str]) -> list[str]:
    """A column for each present component, a line for each feature; wide tables go on below."""
    weights, means = np.asarray(mixture.weights, float), np.asarray(mixture.means, float)
    widths = np.sqrt(np.diagonal(np.asarray(mixture.covariances, float), axis1=1, axis2=2))
    present = np.flatnonzero(np.asarray(mixture.present))
    # As many decimals as show the narrowest component's width to two digits.
    narrow = widths[present].min(axis=0, initial=np.inf)
    places = [
        int(np.clip(1 - np.floor(np.log10(w)), 0, 7)) if 0 < w < np.inf else 3 for w in narrow
    ]
    lines = []
    for start in range(0, len(present), COMPONENTS_ACROSS):
        shown = present[start : start + COMPONENTS_ACROSS]
        row = lambda label, cell, shown=shown: (
            {"": label} | {f"component {k + 1}": cell(k) for k in shown}
        )
        rows = [row("weight", lambda k: f"{weights[k]:.3f}")]
        if sizes is not None:
            rows.append(row("rows", lambda k: sizes[k]))
        for i, name in enumerate(names[:MOST_FEATURES]):
            cell = lambda k, i=i: " ± ".join(
                _number(value[k, i], places[i]) for value in (means, widths)
            )
            rows.append(row(name, cell))
        lines += ["", *_right(rows)]
    if len(names) > MOST_FEATURES:
        lines.append(f"… and {len(names) - MOST_FEATURES} more features")
    absent = mixture.n_components - len(present)
    if absent:
        lines.append(f"({_some(absent, 'component')} absent, of weight 0)")
    return lines[1:]


def _right(rows: list[dict]) -> list[str]:
    """Lines with the first column left and the others right."""
    cells = [list(rows[0]), *(list(row.values()) for row in rows)]
    return align_columns(cells, [i == 0 for i in range(len(cells[0]))])


def _of_batch(fits) -> str:
    status = np.asarray(fits.status)
    objective = np.asarray(fits.objective, np.float64)
    usable = (status != Status.NONFINITE) & (status != Status.DEGENERATE) & np.isfinite(objective)
    mixture = fits.mixture
    k, d = mixture.means.shape[-2:]
    shape = "" if status.ndim == 1 else f" ({' × '.join(map(str, status.shape))})"
    lines = [
        f"{_some(status.size, 'fit')}{shape} of Gaussian mixtures, {mixture.family} covariances: "
        f"up to {_some(k, 'component')} in {_some(d, 'feature')}",
        ", ".join(
            f"{int(np.sum(status == one))} {one.name}" for one in Status if np.any(status == one)
        ),
    ]
    if usable.any():
        at = np.unravel_index(np.argmax(np.where(usable, objective, -np.inf)), status.shape)
        where = ", ".join(map(str, map(int, at)))
        spread = np.median(objective[usable]), objective[usable].min()
        lines.append(
            f"objective: highest {objective[at]:.2f} (lane {where}), median {spread[0]:.2f}, "
            f"lowest {spread[1]:.2f}"
        )
    passes = np.asarray(fits.passes, np.float64)
    steps = np.asarray(fits.steps)[passes > 0]
    if len(steps):
        lines.append(
            f"steps: median {np.median(steps):.0f}, most {steps.max()}; passes in all: "
            f"{passes.sum():.0f}"
        )
    return "\n".join(lines)
