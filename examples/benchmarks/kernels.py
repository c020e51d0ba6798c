"""Time and rounding error of the kernels of a pass, over rows, components and narrow clusters.

    .venv/bin/python examples/benchmarks/kernels.py --csv examples/benchmarks/results/kernels.csv

Each case fits float32 rows of k clusters of unit width from their true labels. The centers are
drawn with a standard deviation of `spread` in each feature: the larger it is, the narrower are the
components for their distance from the center. The script measures one EM iteration with
kernel="auto", with each kernel by its name, and by scikit-learn where that is installed, in turn in
one process. Errors are those of means and variances after one iteration, against the same iteration
in float64, in units of a component's standard deviation and variance.
"""

import jax
import numpy as np
from peers import PEERS, installed
from timing import add_row, jaxgmm_run, machine, make_parser, per_iteration

import jaxgmm

KERNELS = ("natural", "double", "whitened")
CASES = [  # n, d, k, family, spread
    (20_000, 64, 256, "spherical", 3.0),
    (20_000, 64, 256, "diagonal", 3.0),
    (4_000, 64, 64, "diagonal", 3.0),
    (100_000, 16, 16, "diagonal", 1.0),
    (100_000, 16, 16, "diagonal", 30.0),
    (100_000, 4, 4, "diagonal", 30.0),
    (100_000, 16, 16, "full", 30.0),
]
QUICK = [(5_000, 8, 8, "diagonal", spread) for spread in (1.0, 30.0)]


def clusters(n: int, d: int, k: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 rows of k clusters of unit width, and their components."""
    rng = np.random.default_rng(0)
    component = rng.integers(k, size=n)
    x = spread * rng.normal(size=(k, d))[component] + rng.normal(size=(n, d))
    return x.astype(np.float32), component


def one_step(x: np.ndarray, start: jaxgmm.Mixture, kernel: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the means (k, d) and the variances (k, d) after one iteration."""
    fit = jaxgmm.fit(x, start, kernel=kernel, prior=None, max_steps=1, tolerance=0.0)
    variances = np.diagonal(fit.mixture.covariances, axis1=1, axis2=2)
    return np.asarray(fit.mixture.means, float), variances.astype(float)


def error(x: np.ndarray, start: jaxgmm.Mixture, kernel: str) -> float:
    """Return the largest error of means and variances after one iteration."""
    with jax.enable_x64(True):
        means, variances = one_step(x.astype(float), start, "whitened")
    found_means, found_variances = one_step(x, start, kernel)
    in_widths = np.abs(found_means - means) / np.sqrt(variances)
    return float(max(np.max(in_widths), np.max(np.abs(found_variances / variances - 1))))


def measure(case: tuple, rounds: int) -> dict:
    """Return one row of the table."""
    n, d, k, family, spread = case
    x, component = clusters(n, d, k, spread)
    start = jaxgmm.from_labels(x, component, n_components=k, family=family)
    runs = {kernel: jaxgmm_run(x, start, kernel) for kernel in ("auto", *KERNELS)}
    if installed("scikit-learn"):
        runs["scikit-learn"] = PEERS["scikit-learn"](x, start, family)
    took = per_iteration(runs, rounds)
    row = {"n": n, "d": d, "k": k, "family": family, "spread": spread}
    row |= {f"{name} ms": round(1e3 * seconds, 2) for name, seconds in took.items()}
    row |= {"auto / best": round(took["auto"] / min(took[name] for name in KERNELS), 2)}
    if "scikit-learn" in took:
        row |= {"× scikit-learn": round(took["scikit-learn"] / took["auto"], 1)}
    return row | {f"{name} error": f"{error(x, start, name):.0e}" for name in ("auto", *KERNELS)}


def main() -> None:
    """Measure all cases."""
    parser = make_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="measure only two small cases")
    arguments = parser.parse_args()
    if arguments.csv:
        arguments.csv.unlink(missing_ok=True)
    print(machine())
    for case in QUICK if arguments.quick else CASES:
        row = measure(case, arguments.rounds)
        print(jaxgmm.Table([row]), flush=True)
        if arguments.csv:  # after each case, so that a later failure loses nothing
            add_row(arguments.csv, row)


if __name__ == "__main__":
    main()
