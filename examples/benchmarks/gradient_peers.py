"""Gradient methods of other libraries from the starts of `em_versus_gradient.py`, on real data.

    .venv/bin/python -m pip install mixture-models pymanopt
    .venv/bin/python -m pip install -U autograd  # where Python is 3.11 or later
    .venv/bin/python examples/benchmarks/gradient_peers.py

Mixture-Models (Kasa & Rajan 2024) runs SciPy's Newton-CG on square roots of the covariances.
pymanopt runs conjugate gradients and trust regions on the matrices [1 μᵀ; μ Σ + μμᵀ] with their
invariant metric (Hosseini & Sra 2020), and logits. All maximize the likelihood without a prior. A
pass is one evaluation of the likelihood, of its gradient, or of a product of its Hessian; where
autograd computes a gradient, the evaluation that it contains is not counted again.
"""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import em_versus_gradient_report as report
from em_versus_gradient_data import real_data

import jaxgmm

Course = list[tuple[float, float]]  # passes and the likelihood per row, after each evaluation
STARTS, MOST, GAP = 10, 500, 1e-6
RESULTS = Path(__file__).with_name("results") / "gradient_peers.md"
SETS = ("iris", "penguins", "wine", "faithful")
Start = tuple[np.ndarray, np.ndarray, np.ndarray]


def jaxgmm_by(name: str) -> Callable[[np.ndarray, Start], Course]:
    """Return a function that fits by one of jaxgmm's algorithms."""

    def run(x: np.ndarray, start: Start) -> Course:
        fit = jaxgmm.fit(
            x, jaxgmm.Mixture.from_parameters(*start), name, prior=None, tolerance=1e-11,
            max_steps=2000,
        )  # fmt: skip
        values = zip(fit.history_passes, fit.history / len(x), strict=True)
        return [(float(passes), float(value)) for passes, value in values]

    return run


class Counter:
    """Counts passes, and keeps the likelihood per row after each."""

    def __init__(self) -> None:
        self.passes, self.path = 0, []

    def value(self, value: float) -> float:
        self.passes += 1
        self.path.append((self.passes, -float(value)))
        return value


def mixture_models(x: np.ndarray, start: Start) -> Course:
    """Fit by Newton-CG of Mixture-Models."""
    import autograd
    from autograd.misc.flatten import flatten
    from Mixture_Models import GMM
    from scipy.optimize import minimize

    weights, means, covariances = start
    roots = np.swapaxes(np.linalg.cholesky(covariances), 1, 2)
    model, counter = GMM(x), Counter()
    flat, unflatten = flatten(
        {"log proportions": np.log(weights), "means": means, "sqrt_covs": roots}
    )
    # `GMM.objective` of version 0.0.8 calls a method that does not exist, besides the likelihood.
    objective = lambda vector: -model.gmm_log_likelihood(unflatten(vector), x) / len(x)
    gradient = autograd.grad(objective)
    product = autograd.hessian_vector_product(objective)

    def count(function: Callable) -> Callable:
        def counted(*arguments):
            counter.passes += 1
            return function(*arguments)

        return counted

    # The options are those of `GMM.fit`, but for the tolerance and the scale of the objective.
    with contextlib.suppress(np.linalg.LinAlgError):  # a singular covariance ends the fit
        minimize(
            lambda vector: counter.value(objective(vector)), flat, jac=count(gradient),
            hessp=count(product), method="Newton-CG", tol=1e-10, options={"maxiter": MOST},
        )  # fmt: skip
    return counter.path


def pymanopt_by(name: str) -> Callable[[np.ndarray, Start], Course]:
    """Return a function that fits by one of pymanopt's optimizers."""

    def run(x: np.ndarray, start: Start) -> Course:
        import autograd.numpy as anp
        import pymanopt
        from pymanopt.manifolds import Euclidean, Product, SymmetricPositiveDefinite
        from pymanopt.optimizers import ConjugateGradient, TrustRegions

        weights, means, covariances = start
        n, d = x.shape
        k = len(weights)
        y = np.concatenate([x, np.ones((n, 1))], axis=1)
        manifold = Product([SymmetricPositiveDefinite(d + 1, k=k), Euclidean(k)])
        counter = Counter()

        @pymanopt.function.autograd(manifold)
        def cost(matrices, logits):
            inverse = anp.linalg.inv(matrices)
            forms = anp.einsum("ni,kij,nj->nk", y, inverse, y)
            joint = (1 - forms - anp.linalg.slogdet(matrices)[1] - d * np.log(2 * np.pi)) / 2
            joint = joint + logits - anp.log(anp.sum(anp.exp(logits)))
            top = anp.max(joint, axis=1)
            sums = anp.sum(anp.exp(joint - top[:, None]), axis=1)
            return -anp.mean(top + anp.log(sums))

        problem = pymanopt.Problem(manifold, cost)
        for part in ("_cost", "_riemannian_gradient", "_riemannian_hessian"):
            count_calls(problem, part, counter)
        optimizer = {"conjugate gradients": ConjugateGradient, "trust regions": TrustRegions}[name]
        moments = covariances + means[:, :, None] * means[:, None]
        first = np.concatenate([moments, means[:, None]], axis=1)
        last = np.concatenate([means, np.ones((k, 1))], axis=1)[..., None]
        matrices = np.concatenate([first, last], axis=2)
        optimizer(verbosity=0, max_iterations=MOST, min_gradient_norm=1e-7, max_time=120).run(
            problem, initial_point=[matrices, np.log(weights)]
        )
        return counter.path

    return run


def count_calls(problem, part: str, counter: Counter) -> None:
    """Make a problem of pymanopt count the calls of its cost or of a derivative."""
    get = lambda: getattr(problem, part)
    if part != "_cost" and get() is None:  # it is derived at the first use
        getattr(problem, part.lstrip("_"))
    function = get()

    def counted(*arguments):
        value = function(*arguments)
        if part == "_cost":
            return counter.value(value)
        counter.passes += 1
        return value

    setattr(problem, part, counted)


METHODS = {
    "jaxgmm, em": jaxgmm_by("em"),
    "jaxgmm, auto": jaxgmm_by("auto"),
    "Mixture-Models, Newton-CG": mixture_models,
    "pymanopt, conjugate gradients": pymanopt_by("conjugate gradients"),
    "pymanopt, trust regions": pymanopt_by("trust regions"),
}


def main() -> None:
    """Print the median passes to 1e-6 nats per row of the own end, and how many end at EM's."""
    jax.config.update("jax_enable_x64", True)
    table = []
    for name, (x, k) in real_data(SETS).items():
        keys = jax.vmap(jax.random.key)(np.arange(1000, 1000 + STARTS))
        made = jax.vmap(lambda key, x=x, k=k: jaxgmm.initialize(key, x, k))(keys)
        arrays = map(np.asarray, (made.weights, made.means, made.covariances))
        starts = list(zip(*arrays, strict=True))
        found = {}
        for method, run in METHODS.items():
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found[method] = [summarize(run(x, start)) for start in starts]
        row = {"data": name}
        for method, ends in found.items():
            em = found["jaxgmm, em"]
            same = sum(abs(end - at) < GAP for (_, end), (_, at) in zip(ends, em, strict=True))
            row[method] = f"{report.whole(np.median([passes for passes, _ in ends]))} ({same})"
        table.append(row)
    text = report.markdown(table)
    RESULTS.write_text(text + "\n", encoding="utf-8")
    print(text)


def summarize(path: Course) -> tuple[float, float]:
    """Return the passes to within the gap of the best value, and that value."""
    values = np.maximum.accumulate([value if np.isfinite(value) else -np.inf for _, value in path])
    return path[int(np.argmax(values >= values[-1] - GAP))][0], float(values[-1])


if __name__ == "__main__":
    main()
