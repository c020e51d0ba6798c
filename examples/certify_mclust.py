"""Make `data/certified_mclust.csv` again: mclust's answers to the problems of `certified_digits`.

    .venv/bin/python examples/certify_mclust.py

It needs R with mclust. `em` of mclust continues from the start of each problem until the
log-likelihood no longer changes.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import load
import numpy as np

SCRIPT = r"""
suppressMessages(library(mclust))
arguments <- commandArgs(TRUE)
numbers <- function(name) scan(file.path(arguments[1], name), quiet = TRUE)
d <- as.integer(arguments[2]); k <- as.integer(arguments[3])
x <- matrix(numbers("rows"), ncol = d, byrow = TRUE)
sigma <- array(numbers("covariances"), c(d, d, k))
model <- if (d == 1) "V" else "VVV"
variance <- if (d == 1) list(modelName = "V", d = 1, G = k, sigmasq = as.vector(sigma)) else
  list(modelName = "VVV", d = d, G = k, sigma = sigma,
       cholsigma = array(apply(sigma, 3, chol), c(d, d, k)))
start <- list(pro = numbers("weights"), mean = matrix(numbers("means"), d, k), variance = variance)
if (d == 1) start$mean <- as.vector(start$mean)
control <- emControl(eps = 0, tol = c(0, 0), itmax = c(50000, 50000))
found <- em(modelName = model, data = if (d == 1) as.vector(x) else x, parameters = start,
            control = control, warn = FALSE)
p <- found$parameters
covariances <- if (d == 1) p$variance$sigmasq else p$variance$sigma
say <- function(name, values) cat(name, sprintf("%.17g", as.vector(values)), "\n", sep = ",")
say("log_likelihood", found$loglik); say("weights", p$pro); say("means", p$mean)
say("covariances", covariances)
"""


def answer(problem: load.Certified) -> list[tuple[str, list[str]]]:
    """Return mclust's answer: names, and numbers as texts in the order of a raveled array."""
    k, d = np.shape(problem.start["means"])
    with tempfile.TemporaryDirectory() as folder:
        for name, values in {"rows": problem.x, **problem.start}.items():
            text = " ".join(repr(float(value)) for value in np.ravel(values))
            Path(folder, name).write_text(text, "utf-8")
        script = Path(folder, "script.R")
        script.write_text(SCRIPT, "utf-8")
        command = ["Rscript", str(script), folder, str(d), str(k)]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    cells = [line.strip().strip(",").split(",") for line in lines.splitlines()]
    return [(name, values) for name, *values in cells]


def make() -> None:
    """Write the file."""
    lines = ["problem,quantity,place,value"]
    for name, problem in load.certified().items():
        for quantity, values in answer(problem):
            lines += [f"{name},{quantity},{place},{value}" for place, value in enumerate(values)]
    (load.DATA / "certified_mclust.csv").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    make()
