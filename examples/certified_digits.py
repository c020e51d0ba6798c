# %% [markdown]
# # How many digits are right?
#
# NIST certifies the answers of regression problems, so that software can be checked against them.
# Here are ten problems with mixtures of normals whose maxima are known to 30 digits. The script
# counts how many digits of them jaxgmm, scikit-learn and mclust find from the same start.
#
#     .venv/bin/python examples/certified_digits.py
#
# It takes one to two minutes, most of which is compilation. One of the tables needs scikit-learn.
# mclust's answers are in a file.
#
# `certify.py` computed the maxima, by Newton's method with numbers of 100 digits, and put them into
# `data/certified.json` with the rows and the starts. No prior is used.

# %%
import importlib.util
import warnings

import jax
import load
import numpy as np

import jaxgmm

jax.config.update("jax_enable_x64", True)
PROBLEMS = load.certified()
PARAMETERS = ("weights", "means", "covariances")
MOST = {2: 272, 3: 342}  # the most rows of a problem, by its number of components

# %% [markdown]
# ## The log relative error
#
# The number of right digits is −log₁₀ |q − c|/|c| for an answer q and the certified c (McCullough
# 1998). That of an array is the least of its entries. No number of float64 has more than 16.


# %%
def digits(answer: np.ndarray, certified: np.ndarray) -> float:
    """Return the least number of right digits of the entries of an array."""
    error = np.abs(np.asarray(answer, float) - certified) / np.abs(certified)
    return float(np.clip(-np.log10(np.maximum(error, 1e-16)), 0, 16).min())


# %% [markdown]
# ## jaxgmm
#
# EM's gain D is about half the square of the relative error of a step, so a tolerance of 1e-26 in
# float64 leaves errors of 1e-13 / (1 − ρ), where ρ is EM's rate. In float32, a tolerance of 1e-17
# lets EM go on until its steps hardly change the mixture. Rows of weight 0 make problems equally
# long, so that they share a program.

# %%
TOLERANCE = {"float64": 1e-26, "float32": 1e-17}
MOST_STEPS = 3000


def answers_of_jaxgmm(
    problem: load.Certified, dtype: str, rows: str = "float64", errors: bool = True
) -> dict[str, np.ndarray]:
    """Return the log-likelihood, the parameters and their standard errors, computed in `dtype`.

    The rows are first rounded to the dtype `rows`.
    """
    n, most = len(problem.x), MOST[len(problem.start["weights"])]
    padding = np.broadcast_to(problem.x[:1], (most - n, problem.x.shape[1]))
    x = np.concatenate([problem.x, padding]).astype(rows).astype(dtype)
    weight = (np.arange(most) < n).astype(dtype)
    # In float64, because some of the covariances are singular once they are rounded to float32.
    # Their factors, which a mixture contains, are not.
    start = jaxgmm.Mixture.from_parameters(**problem.start)
    start = jax.tree.map(lambda leaf: leaf.astype(dtype), start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that float32 is too coarse for some of the problems
        found = jaxgmm.fit(
            x, start, weight=weight, prior=None, tolerance=TOLERANCE[dtype], max_steps=MOST_STEPS
        )
    answers = {"log_likelihood": found.log_likelihood}
    answers |= {name: getattr(found.mixture, name) for name in PARAMETERS}
    if errors:
        uncertainty = jaxgmm.uncertainty(found.mixture, x, weight=weight, prior=None)
        answers |= {
            f"errors of {name}": leaf
            for name, leaf in uncertainty.standard_errors._asdict().items()
        }
    return {name: np.asarray(leaf, float) for name, leaf in answers.items()}


# %% [markdown]
# ## scikit-learn
#
# `reg_covar=0` makes it maximize the likelihood itself. Its stopping rule is a change of the mean
# log-likelihood, and 1e-15 is less than the rounding error of most.


# %%
def answers_of_scikit_learn(problem: load.Certified) -> dict[str, np.ndarray]:
    """Return the log-likelihood and the parameters."""
    from sklearn.mixture import GaussianMixture

    start = problem.start
    model = GaussianMixture(
        len(start["weights"]), tol=1e-15, max_iter=MOST_STEPS, reg_covar=0,
        weights_init=start["weights"], means_init=start["means"],
        precisions_init=np.linalg.inv(start["covariances"]),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        model.fit(problem.x)
    parameters = {name: getattr(model, f"{name}_") for name in PARAMETERS}
    return {"log_likelihood": model.score(problem.x) * len(problem.x)} | parameters


# %% [markdown]
# ## The digits


# %%
def row_of(name: str, problem: load.Certified, answers: dict[str, np.ndarray]) -> dict[str, object]:
    """Return a row of the table: the right digits of each quantity."""
    row: dict[str, object] = {"problem": name}
    for quantity in ("log_likelihood", *PARAMETERS):
        row[quantity.replace("_", "-")] = digits(answers[quantity], problem.maximum[quantity])
    if f"errors of {PARAMETERS[0]}" in answers:
        row["standard errors"] = min(
            digits(answers[f"errors of {name}"], problem.errors[name]) for name in PARAMETERS
        )
    return row


LIBRARIES = {
    "jaxgmm, float64": lambda problem: answers_of_jaxgmm(problem, "float64"),
    "jaxgmm, float32": lambda problem: answers_of_jaxgmm(problem, "float32", errors=False),
    "jaxgmm, float64, of rows that are rounded to float32": lambda problem: answers_of_jaxgmm(
        problem, "float64", rows="float32", errors=False
    ),
    "scikit-learn": answers_of_scikit_learn,
    "mclust": lambda problem: problem.mclust,
}
if importlib.util.find_spec("sklearn") is None:
    del LIBRARIES["scikit-learn"]


def table(library: str) -> jaxgmm.Table:
    """Return the right digits of a library for each problem."""
    return jaxgmm.Table(
        row_of(name, problem, LIBRARIES[library](problem)) for name, problem in PROBLEMS.items()
    )


# %% [markdown]
# A library of float32 cannot have more digits than the third table, because the rows that it sees
# are others. The rows with an offset of a million are multiples of 1/16, which float32 represents
# there, so that their digits depend on the library alone.
#
# With a scale of 1e-9, the logarithms of standard deviations in a mixture are near 21, where
# float32 numbers are 2e-6 apart. jaxgmm fits such rows in another unit, and rounds the logarithms
# at the end.


# %%
if __name__ == "__main__":
    for library in LIBRARIES:
        print(f"{library}: right digits\n")
        print(f"{table(library)}\n", flush=True)
