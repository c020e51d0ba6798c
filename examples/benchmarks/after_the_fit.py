"""Conditionals, regression and transport next to gmr, POT and scikit-learn.

    .venv/bin/python examples/benchmarks/after_the_fit.py

Libraries that are not installed are left out. Times are CPU times of this process, the median of
several calls after compilation, in float64.
"""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import jaxgmm

jax.config.update("jax_enable_x64", True)
K, D, N = 5, 6, 20_000
GIVEN = (0, 1, 2)


def has(library: str) -> bool:
    """Return whether a library can be imported."""
    return importlib.util.find_spec(library) is not None


def milliseconds(function: Callable[[], object], rounds: int = 7) -> float:
    """Return the median CPU time of a call in milliseconds."""
    function()  # compiles
    times = []
    for _ in range(rounds):
        began = time.process_time()
        jax.block_until_ready(function())
        times.append(time.process_time() - began)
    return 1e3 * float(np.median(times))


def parameters(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights, means and covariances of a random mixture."""
    rng = np.random.default_rng(seed)
    root = 0.4 * rng.normal(size=(K, D, D)) + np.eye(D)
    weights = rng.dirichlet(np.full(K, 5.0))
    return weights, 2 * rng.normal(size=(K, D)), root @ np.swapaxes(root, 1, 2)


def conditionals() -> None:
    """Print the times of regression and of conditional mixtures."""
    weights, means, covariances = parameters(0)
    mixture = jaxgmm.Mixture.from_parameters(weights, means, covariances)
    x = np.random.default_rng(2).normal(size=(N, len(GIVEN)))
    rows = jnp.asarray(x)
    each = jax.jit(jax.vmap(lambda row: jaxgmm.condition(mixture, GIVEN, row)))
    ours = milliseconds(lambda: jaxgmm.regress(mixture, GIVEN, rows))
    one = milliseconds(lambda: each(rows)) / N
    print(f"{N} rows, K = {K}, {len(GIVEN)} of {D} features given")
    print(f"  regress, mean and covariance      {ours:8.1f} ms")
    print(f"  condition under vmap, a row       {1e3 * one:8.2f} µs")
    if has("gmr"):
        import gmr

        theirs = gmr.GMM(K, weights, means, covariances)
        found = np.asarray(jaxgmm.regress(mixture, GIVEN, rows).mean)
        mean = milliseconds(lambda: theirs.predict(list(GIVEN), x))
        single = milliseconds(lambda: [theirs.condition(list(GIVEN), row) for row in x[:50]]) / 50
        apart = np.abs(found - theirs.predict(list(GIVEN), x)).max()
        print(f"  gmr's predict, mean alone         {mean:8.1f} ms   (apart by {apart:.0e})")
        print(
            f"  gmr's condition, a row            {1e3 * single:8.0f} µs   ({single / one:.0f} ×)"
        )


def transport() -> None:
    """Print the times of MW₂ with POT, with SciPy, and of POT alone."""
    from jaxgmm.numerics import transport

    first, second = parameters(0), parameters(1)
    a, b = (jaxgmm.Mixture.from_parameters(*parts) for parts in (first, second))
    run = lambda: float(jaxgmm.mw2(a, b))
    print(f"\nMW2 of two mixtures, K = {K}, d = {D}")
    if has("ot"):
        import ot.gmm

        (w, m, c), (v, n, s) = first, second
        loss = lambda: ot.gmm.gmm_ot_loss(m, n, c, s, w, v)
        print(f"  by POT                            {milliseconds(run, 31):8.2f} ms")
        print(f"  POT's gmm_ot_loss                 {milliseconds(loss, 31):8.2f} ms   "
              f"(apart by {abs(run() ** 2 - loss()):.0e})")  # fmt: skip
        transport._pot = lambda: None
    print(f"  by SciPy                          {milliseconds(run, 31):8.2f} ms")


def regressors() -> None:
    """Print R² on held-out rows and the times of three regressors."""
    from sklearn.datasets import load_diabetes
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from jaxgmm.sklearn import GaussianMixtureRegressor

    rng = np.random.default_rng(0)
    x = rng.uniform(0, 2 * np.pi, (400, 1))
    tables = {
        "sin(x) + noise": (x, np.sin(x[:, 0]) + 0.1 * rng.normal(size=400), 8, "full"),
        "diabetes": (*load_diabetes(return_X_y=True), 2, "tied"),
        "houses": (*houses(rng), 12, "full"),
    }
    print("\n  table           regressor                   R² held out   fit, s   predict, ms")
    for name, (x, y, k, kind) in tables.items():
        order = rng.permutation(len(x))
        seen, held_out = order[: len(x) // 2], order[len(x) // 2 :]
        kernel = ConstantKernel() * RBF(np.ones(x.shape[1])) + WhiteKernel()
        models = {
            f"mixture, K = {k}, {kind}": GaussianMixtureRegressor(
                k, covariance_type=kind, random_state=0, reg_covar=1e-3, n_init=4
            ),
            "GaussianProcessRegressor": make_pipeline(
                StandardScaler(), GaussianProcessRegressor(kernel, normalize_y=True)
            ),
        }
        if has("gmr"):
            models["gmr"] = Gmr(k)
        for label, model in models.items():
            began = time.process_time()
            model.fit(x[seen], y[seen])
            fitted = time.process_time() - began
            predicted = model.predict(x[held_out])
            share = 1 - np.mean((y[held_out] - predicted) ** 2) / np.var(y[held_out])
            taken = milliseconds(lambda: model.predict(x[held_out]), 5)  # noqa: B023
            print(f"  {name:15} {label:27} {share:11.3f} {fitted:8.2f} {taken:13.1f}")


def houses(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return simulated districts: place, age, rooms, income and so on, and log prices."""
    n = 3000
    center = rng.integers(0, 3, n)
    place = np.array([[0, 0], [4, 1], [2, 5]])[center] + rng.normal(size=(n, 2))
    income = rng.gamma(3, 1, n) * np.array([1, 1.4, 0.8])[center]
    rooms = 4 + 0.5 * income + rng.normal(size=n)
    age, people = rng.uniform(1, 50, n), rng.lognormal(1, 0.3, n)
    near = np.exp(-np.hypot(*(place - [4, 1]).T) / 2)
    price = 0.35 * income + 1.5 * near + 0.02 * rooms * (age > 25) - 0.1 * people
    x = np.column_stack([place, income, rooms, age, people, rooms / people, near * income])
    return x, price + 0.2 * rng.normal(size=n)


class Gmr:
    """gmr's mixture regression with the methods of a regressor."""

    def __init__(self, k: int) -> None:
        self.k = k

    def fit(self, x: np.ndarray, y: np.ndarray) -> None:
        """Fit a mixture to inputs and target, in standard deviations."""
        import gmr

        rows = np.column_stack([x, y])
        self.center, self.scale = rows.mean(axis=0), rows.std(axis=0)
        self.mixture = gmr.GMM(self.k, random_state=0)
        self.mixture.from_samples((rows - self.center) / self.scale, n_iter=500)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the conditional means (n,)."""
        d = x.shape[1]
        mean = self.mixture.predict(np.arange(d), (x - self.center[:d]) / self.scale[:d])
        return mean[:, 0] * self.scale[d] + self.center[d]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    conditionals()
    transport()
    if has("sklearn"):
        regressors()
