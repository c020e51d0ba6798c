"""`summary`: a mixture or a fit as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from ..data import row_checks
from ..data.observed import Observed, pack, table_of
from ..fitting.result import Fit
from ..fitting.status import Status
from ..inference.uncertainty import uncertainty
from ..internal import checks
from ..internal.feature_names import resolve_feature_names
from ..internal.text_table import Table, align_columns
from ..mixture.mixture import Mixture
from ..objective.densities import responsibilities
from ..objective.prior import Prior
from ..selection.criteria import aic, aic_of, bic, icl, n_parameters
from .loading_tables import loading_lines
from .observed_rows import evidence_lines

COMPONENTS_ACROSS = 6
MOST_FEATURES = 20


def summary(
    found: Mixture | Fit,
    x: Any = None,
    *,
    weight: ArrayLike | None = None,
    features: Sequence[str] | None = None,
    errors: bool = False,
    prior: Prior | str | None = "default",
) -> str:
    """Return a mixture or a fit as text, similar to mclust's summary.

    Args:
      found: a `Mixture` or a `Fit`. For a batch of fits, the text says how many fits ended with
        each status and how high their objectives are.
      x: (n, d) rows, or None. With rows the text also shows n, BIC, ICL and the size of each
        component, which is the number of rows that most likely belong to it (with `weight`, their
        weight).
      weight: (n,) row weights, or None for ones.
      features: names of the d features. By default they are the columns of x if it is a table with
        names, and numbers otherwise.
      errors: whether to add a table of all parameters with their standard errors and 95 %
        intervals, which needs x; see `uncertainty`.
      prior: the prior of the fit, which the standard errors need; as in `fit`.

    Returns:
      Lines of text, which end with loadings and communalities for a low-rank family. Each mean is
      shown with its standard deviation, "mean ± deviation", in the units of the data. AIC, BIC and
      ICL are lower for a better mixture (mclust's BIC has the opposite sign).

    Raises:
      ValueError: for x or weight whose shape does not match the mixture, for a wrong number of
        names, for rows with a batch of fits, and for errors without rows.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> print(jaxgmm.summary(m, features=["height"]).splitlines()[0])
    Gaussian mixture, full covariances: 2 components in 1 feature
    """
    if errors and x is None:
        raise ValueError("standard errors need the rows: pass summary(found, x, errors=True).")
    fit = None if isinstance(found, Mixture) else found
    mixture = found if isinstance(found, Mixture) else found.mixture
    if np.ndim(mixture.means) != 2:
        if x is not None or fit is None:
            checks.one_mixture(mixture)  # raises ValueError for a batch
        assert fit is not None
        return _summary_of_batch(fit)
    names = resolve_feature_names(features, table_of(x), mixture.n_features)
    if x is not None and not isinstance(x, Observed):  # a table is converted once
        x, _ = row_checks.check_rows(x, warn_of_columns=None)
    weight = None if weight is None else np.asarray(checks.array(weight, "weight"))
    k, d = mixture.means.shape
    lines = [
        f"Gaussian mixture, {mixture.family} covariances: {_count(k, 'component')} in "
        f"{_count(d, 'feature')}",
        "",
        str(Table([_criteria(mixture, fit, x, weight)])),
        "",
    ]
    if fit is not None:
        lines += [_ending(fit), ""]
    if isinstance(x, Observed):
        lines += [*evidence_lines(mixture, x, names), ""]
    sizes = None if x is None else _component_sizes(mixture, x, weight)
    lines += _component_lines(mixture, sizes, names)
    lines += loading_lines(mixture, names, MOST_FEATURES)
    if errors:
        certainty = uncertainty(mixture, x, weight=weight, prior=prior)
        lines += ["", "Standard errors and 95 % intervals", "", str(certainty.table(names))]
    return "\n".join(lines)


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("s" if count != 1 else "")


def _criteria(
    mixture: Mixture, fit: Fit | None, x: Any, weight: ArrayLike | None
) -> dict[str, Any]:
    """Return the log-likelihood, the number of parameters and the criteria that can be computed."""
    p = int(n_parameters(mixture))
    if x is None:
        likelihood = {} if fit is None else {"log-likelihood": float(fit.log_likelihood)}
        criteria = {} if fit is None else {"AIC": aic_of(float(fit.log_likelihood), p)}
        return likelihood | {"parameters": p} | criteria
    n = len(pack(x).x) if isinstance(x, Observed) else len(x)
    total = float(n if weight is None else np.sum(weight, dtype=np.float64))
    aic_value = float(aic(mixture, x, weight=weight))
    return {
        "log-likelihood": p - aic_value / 2,
        "n": int(total) if total == int(total) else total,
        "parameters": p,
        "AIC": aic_value,
        "BIC": float(bic(mixture, x, weight=weight)),
        "ICL": float(icl(mixture, x, weight=weight)),
    }


def _ending(fit: Fit) -> str:
    """Return how a fit ended, and at what cost."""
    passes = float(fit.passes)
    shown = f"{passes:.0f}" if passes == round(passes) else f"{passes:.1f}"
    shown += " pass" if passes == 1 else " passes"
    return (
        f"{Status(int(fit.status)).name} after {_count(int(fit.steps), 'step')} and {shown} "
        f"over the rows; objective {float(fit.objective):.2f}, D = {float(fit.em_gain):.1e}"
    )


def _component_sizes(mixture: Mixture, x: Any, weight: ArrayLike | None) -> list[str]:
    likeliest = np.argmax(np.asarray(responsibilities(mixture, x)), axis=1)
    row_weights = None if weight is None else np.asarray(weight, np.float64)
    sizes = np.bincount(likeliest, row_weights, minlength=mixture.n_components)
    return [f"{size:.0f}" if size == round(size) else f"{size:.2f}" for size in sizes]


def _number(value: float, places: int) -> str:
    return f"{value:.{places}f}" if places < 7 else f"{value:.3g}"


def _component_lines(mixture: Mixture, sizes: list[str] | None, names: list[str]) -> list[str]:
    """Return a table with a column for each present component and a line for each feature.

    A table of more than `COMPONENTS_ACROSS` components is continued below.
    """
    weights, means = np.asarray(mixture.weights, float), np.asarray(mixture.means, float)
    widths = np.sqrt(np.diagonal(np.asarray(mixture.covariances, float), axis1=1, axis2=2))
    present = np.flatnonzero(np.asarray(mixture.present))
    # This many decimals show the smallest standard deviation to two digits.
    narrowest = widths[present].min(axis=0, initial=np.inf)
    places = [
        int(np.clip(1 - np.floor(np.log10(w)), 0, 7)) if 0 < w < np.inf else 3 for w in narrowest
    ]
    lines = []
    for start in range(0, len(present), COMPONENTS_ACROSS):
        shown = present[start : start + COMPONENTS_ACROSS]

        def row(label: str, cell: Callable[[int], str], shown: np.ndarray = shown) -> dict:
            return {"": label} | {f"component {k + 1}": cell(k) for k in shown}

        rows = [row("weight", lambda k: f"{weights[k]:.3f}")]
        if sizes is not None:
            rows.append(row("rows", sizes.__getitem__))
        for i, name in enumerate(names[:MOST_FEATURES]):
            cell = lambda k, i=i: " ± ".join(
                _number(float(value[k, i]), places[i]) for value in (means, widths)
            )
            rows.append(row(name, cell))
        lines += ["", *_align(rows)]
    if len(names) > MOST_FEATURES:
        lines.append(f"… and {len(names) - MOST_FEATURES} more features")
    absent = mixture.n_components - len(present)
    if absent:
        lines.append(f"({_count(absent, 'component')} absent, of weight 0)")
    return lines[1:]


def _align(rows: list[dict[str, str]]) -> list[str]:
    """Return lines in which the first column is aligned left and the others right."""
    cells = [list(rows[0]), *(list(row.values()) for row in rows)]
    return align_columns(cells, [i == 0 for i in range(len(cells[0]))])


def _summary_of_batch(fits: Fit) -> str:
    status = np.asarray(fits.status)
    objective = np.asarray(fits.objective, np.float64)
    usable = (status != Status.NONFINITE) & (status != Status.DEGENERATE) & np.isfinite(objective)
    mixture = fits.mixture
    k, d = mixture.means.shape[-2:]
    shape = "" if status.ndim == 1 else f" ({' × '.join(map(str, status.shape))})"
    lines = [
        f"{_count(status.size, 'fit')}{shape} of Gaussian mixtures, {mixture.family} covariances: "
        f"up to {_count(k, 'component')} in {_count(d, 'feature')}",
        ", ".join(
            f"{int(np.sum(status == one))} {one.name}" for one in Status if np.any(status == one)
        ),
    ]
    if usable.any():
        best = np.unravel_index(np.argmax(np.where(usable, objective, -np.inf)), status.shape)
        lane = ", ".join(str(int(index)) for index in best)
        median, lowest = np.median(objective[usable]), objective[usable].min()
        lines.append(
            f"objective: highest {objective[best]:.2f} (lane {lane}), median {median:.2f}, "
            f"lowest {lowest:.2f}"
        )
    passes = np.asarray(fits.passes, np.float64)
    steps = np.asarray(fits.steps)[passes > 0]
    if len(steps):
        lines.append(
            f"steps: median {np.median(steps):.0f}, most {steps.max()}; passes in total: "
            f"{passes.sum():.0f}"
        )
    return "\n".join(lines)
