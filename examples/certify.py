"""Make `data/certified.json` again: ten mixtures whose maxima are known to 30 digits.

    .venv/bin/python examples/certify.py
    .venv/bin/python examples/certify.py "far offset"   # only this one; the others stay

It needs mpmath and takes a few minutes. Each problem is its rows, a start, and the maximum of the
likelihood that EM reaches from this start. The maximum is computed in two steps. jaxgmm fits the
mixture in float64, and Newton's method with numbers of 100 digits continues from there. The
functions in this file share nothing with jaxgmm: the gradient is that of the definition of the
likelihood, in the weights, the means and the entries of the covariances, and differences of
gradients give the Hessian.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import jax
import load
import numpy as np

import jaxgmm

DIGITS = 100  # of the arithmetic
SHOWN = 30  # of the results
ARRAYS = ("weights", "means", "covariances")
STEP = 50  # steps of differences are 10^-STEP times a parameter's scale


def two_clusters(
    seed: int, n: int, distance: float, spread: tuple[list[list[float]], list[list[float]]]
) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows (n, 2) from two normals, with square roots `spread` of their covariances."""
    generator = np.random.default_rng(seed)
    labels = (np.arange(n) >= 0.6 * n).astype(int)
    noise = np.einsum("nij,nj->ni", np.array(spread)[labels], generator.standard_normal((n, 2)))
    return np.stack([labels * distance, labels * 0.5], 1) + noise, labels


def acidity(seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Draw 155 values that are like the logarithms of lakes' acidity."""
    labels = (np.arange(155) >= 92).astype(int)
    noise = np.random.default_rng(seed).standard_normal(155)
    values = np.array([4.3, 6.25])[labels] + np.array([0.37, 0.52])[labels] * noise
    return values[:, None].round(3), labels


ROUND = [[1.0, 0.0], [0.3, 0.9]]
WIDE = [[1.2, 0.0], [-0.4, 0.7]]


def problems() -> dict[str, tuple[np.ndarray, np.ndarray, bool]]:
    """Return the rows, the labels that give the start, and whether the rows are simulated."""
    line = [[1.0, 0.0], [1.0, 1e-3]]
    thin = [[1.0, 0.0], [1.0, 1e-5]]
    faithful = load.faithful()[0]
    plain, of_plain = two_clusters(2, 150, 4.0, (ROUND, WIDE))
    lines, of_lines = two_clusters(3, 150, 3.0, (line, [[0.8, 0.0], [0.8, 2e-3]]))
    thins, of_thins = two_clusters(4, 150, 3.0, (thin, WIDE))
    overlapping, of_overlapping = two_clusters(5, 200, 1.5, (ROUND, WIDE))
    return {
        "faithful": (faithful, (faithful[:, 0] > 3).astype(int), False),
        "iris": (*load.iris()[:2], False),
        "penguins": (*load.penguins()[:2], False),
        "wine": (*load.wine_columns(load.CERTIFIED_WINE_COLUMNS), False),
        "acidity-like": (*acidity(), True),
        "ill-conditioned": (lines.round(7), of_lines, True),
        # Sums of a million and sixteenths are numbers of float32.
        "far offset": ((plain * 16).round() / 16 + 1e6, of_plain, True),
        "tiny scale": ((plain * 1e-9).round(13), of_plain, True),
        "nearly singular": (thins.round(9), of_thins, True),
        "overlapping": (overlapping.round(4), of_overlapping, True),
    }


def start_of(x: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return the moments of the rows of each label, as lists of numbers."""
    groups = [x[labels == label] for label in range(labels.max() + 1)]
    d = x.shape[1]
    return {
        "weights": [len(group) / len(x) for group in groups],
        "means": [group.mean(0).tolist() for group in groups],
        "covariances": [np.cov(group.T, bias=True).reshape(d, d).tolist() for group in groups],
    }


class Likelihood:
    """The log-likelihood of full covariances, as a function of the p free parameters.

    The free parameters are the first k − 1 weights, the means, and the lower triangles of the
    covariances. They and all results are numbers of mpmath.
    """

    def __init__(self, x: np.ndarray, k: int) -> None:
        from mpmath import mp

        mp.dps = DIGITS
        self.mp, self.k, self.d = mp, k, x.shape[1]
        self.x = [[mp.mpf(float(value)) for value in row] for row in x]
        self.entries = [(i, j) for i in range(self.d) for j in range(i + 1)]

    def unpack(self, free: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Return weights, means and dense covariances."""
        k, d, width = self.k, self.d, len(self.entries)
        weights = [*free[: k - 1], 1 - self.mp.fsum(free[: k - 1])]
        means = [free[k - 1 + c * d : k - 1 + (c + 1) * d] for c in range(k)]
        covariances = []
        for c in range(k):
            first = k - 1 + k * d + c * width
            dense = [[self.mp.zero] * d for _ in range(d)]
            for (i, j), value in zip(self.entries, free[first : first + width], strict=True):
                dense[i][j] = dense[j][i] = value
            covariances.append(dense)
        return weights, means, covariances

    def pack(self, weights: Any, means: Any, covariances: Any) -> list[Any]:
        """Return the free parameters."""
        lower = [s[i][j] for s in covariances for i, j in self.entries]
        flat = [*weights[:-1], *(value for mean in means for value in mean), *lower]
        return [self.mp.mpf(value) for value in flat]

    def value_and_gradient(self, free: list[Any]) -> tuple[Any, list[Any]]:
        """Return ℓ and its p derivatives, of sums over rows of r, r δ and r δ δᵀ, δ = x − μ."""
        mp, k, d = self.mp, self.k, self.d
        weights, means, covariances = self.unpack(free)
        inverses = [(mp.matrix(s) ** -1).tolist() for s in covariances]
        half = d * mp.log(2 * mp.pi) / 2
        logs = [
            mp.log(w) - mp.log(mp.det(mp.matrix(s))) / 2 - half
            for w, s in zip(weights, covariances, strict=True)
        ]
        total, mass = mp.zero, [mp.zero] * k
        first = [[mp.zero] * d for _ in range(k)]
        second = [[mp.zero] * len(self.entries) for _ in range(k)]
        for row in self.x:
            offsets = [[a - b for a, b in zip(row, mean, strict=True)] for mean in means]
            joint = []
            for c in range(k):
                solved = [mp.fdot(line, offsets[c]) for line in inverses[c]]
                joint.append(mp.exp(logs[c] - mp.fdot(offsets[c], solved) / 2))
            density = mp.fsum(joint)
            total += mp.log(density)
            for c, offset in enumerate(offsets):
                share = joint[c] / density
                mass[c] += share
                shared = [share * value for value in offset]
                for i in range(d):
                    first[c][i] += shared[i]
                for at, (i, j) in enumerate(self.entries):
                    second[c][at] += shared[i] * offset[j]
        slopes = [m / w for m, w in zip(mass, weights, strict=True)]
        gradient = [slope - slopes[-1] for slope in slopes[:-1]]
        for c in range(k):
            gradient += [mp.fdot(line, first[c]) for line in inverses[c]]
        for c in range(k):
            gradient += self._slope_of_covariance(inverses[c], mass[c], second[c])
        return total, gradient

    def _slope_of_covariance(self, inverse: Any, mass: Any, second: list[Any]) -> list[Any]:
        """Return ½ (P S P − mass P), with the entries off the diagonal counted twice."""
        spread = self.mp.zeros(self.d)
        for (i, j), value in zip(self.entries, second, strict=True):
            spread[i, j] = spread[j, i] = value
        inverse = self.mp.matrix(inverse)
        slope = (inverse * spread * inverse - mass * inverse) / 2
        return [slope[i, j] * (1 if i == j else 2) for i, j in self.entries]

    def scales(self, free: list[Any]) -> list[Any]:
        """Return the size of a change that matters, of each free parameter."""
        weights, _, covariances = self.unpack(free)
        deviations = [[self.mp.sqrt(s[i][i]) for i in range(self.d)] for s in covariances]
        products = [s[i] * s[j] for s in deviations for i, j in self.entries]
        return [*weights[:-1], *(value for s in deviations for value in s), *products]

    def information(self, free: list[Any], gradient: list[Any], scales: list[Any]) -> Any:
        """Return the observed information, −∂²ℓ, where each parameter is divided by its scale."""
        step, p = self.mp.mpf(10) ** -STEP, len(free)
        result = self.mp.zeros(p)
        for i in range(p):
            moved = [value + step * scales[i] * (at == i) for at, value in enumerate(free)]
            _, there = self.value_and_gradient(moved)
            for j in range(p):
                result[i, j] = -(there[j] - gradient[j]) / step * scales[j]
        return (result + result.T) / 2


def certify(x: np.ndarray, near: jaxgmm.Mixture) -> dict[str, Any]:
    """Return the maximum near a mixture, with standard errors, as texts of 30 digits.

    Raises:
      ArithmeticError: if Newton's method does not converge, or the Hessian there is not negative
        definite.
    """
    k = len(near.weights)
    likelihood = Likelihood(x, k)
    mp = likelihood.mp
    leaves = [np.asarray(getattr(near, name)).tolist() for name in ARRAYS]
    free = likelihood.pack(*leaves)
    scales = likelihood.scales(free)
    value, gradient = likelihood.value_and_gradient(free)
    information = likelihood.information(free, gradient, scales)
    inverse = information**-1
    # The information of the first point serves all steps: each gains as many digits as this point
    # has, and the differences that it is made of are the costly part.
    for _ in range(60):
        largest = max(abs(g * s) for g, s in zip(gradient, scales, strict=True))
        if largest < mp.mpf(10) ** -45:
            break
        slope = mp.matrix([g * s for g, s in zip(gradient, scales, strict=True)])
        move = inverse * slope
        free = [value + m * s for value, m, s in zip(free, move, scales, strict=True)]
        value, gradient = likelihood.value_and_gradient(free)
    else:
        raise ArithmeticError(f"the gradient is still {mp.nstr(largest, 3)}.")
    information = likelihood.information(free, gradient, scales)
    mp.cholesky(information)  # raises where the Hessian is not negative definite
    return _texts(likelihood, free, scales, information**-1, value) | {
        "gradient": mp.nstr(largest, 3)
    }


def _texts(likelihood: Likelihood, free: Any, scales: Any, inverse: Any, value: Any) -> Any:
    """Return all results as texts."""
    mp, k = likelihood.mp, likelihood.k
    text = lambda number: mp.nstr(number, SHOWN, strip_zeros=False)
    nested = lambda tree: [nested(leaf) for leaf in tree] if isinstance(tree, list) else text(tree)
    errors = [s * mp.sqrt(inverse[i, i]) for i, s in enumerate(scales)]
    _, means, covariances = likelihood.unpack(errors)
    of_weights = errors[: k - 1]
    pairs = [(i, j) for i in range(k - 1) for j in range(k - 1)]
    of_last = mp.fsum(scales[i] * scales[j] * inverse[i, j] for i, j in pairs)
    found = dict(zip(ARRAYS, likelihood.unpack(free), strict=True))
    standard_errors = {
        "weights": [*of_weights, mp.sqrt(of_last)],
        "means": means,
        "covariances": covariances,
    }
    return {
        "log_likelihood": text(value),
        **{name: nested(leaf) for name, leaf in found.items()},
        "standard_errors": {name: nested(leaf) for name, leaf in standard_errors.items()},
    }


def make(*names: str) -> None:
    """Write the file, with new results for these problems, or for all if none is named."""
    jax.config.update("jax_enable_x64", True)
    path, made = load.DATA / "certified.json", problems()
    result = json.loads(path.read_text("utf-8")) if names else {}
    for name in names or made:
        x, labels, simulated = made[name]
        began = time.perf_counter()
        start = start_of(x, labels)
        first = jaxgmm.Mixture.from_parameters(**{key: np.array(v) for key, v in start.items()})
        algorithm = jaxgmm.Then(jaxgmm.EM(), jaxgmm.Newton(), jaxgmm.GainBelow(1e-8))
        near = jaxgmm.fit(x, first, algorithm, prior=None, tolerance=1e-20, max_steps=5000)
        result[name] = {"start": start, "maximum": certify(x, near.mixture)}
        if simulated:
            result[name]["rows"] = x.tolist()
        print(f"{name}: {result[name]['maximum']['log_likelihood']}, "
              f"{time.perf_counter() - began:.0f} s", flush=True)  # fmt: skip
        path.write_text(json.dumps(result, separators=(",", ":")) + "\n", "utf-8")


if __name__ == "__main__":
    make(*sys.argv[1:])
