"""Runs the README's Python blocks and the docstrings' examples, and fails unless they print what is
shown there."""

import doctest
import importlib.util
import os
import pathlib
import re
import sys
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgmm

ROOT = pathlib.Path(jaxgmm.__file__).parent
README = (pathlib.Path(__file__).parent.parent / "README.md").read_text("utf-8")
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
# What docstrings take for granted.
NAMES = {
    "jax": jax, "jnp": jnp, "np": np, "optax": optax, "jaxgmm": jaxgmm, "plot": jaxgmm.plot,
    "os": os, "tempfile": tempfile,
}  # fmt: skip
NEEDS = {"plot": "matplotlib", "sklearn": "sklearn"}


def of_readme() -> doctest.DocTest:
    source = "\n".join(re.findall(r"```python\n(.*?)```", README, re.S))
    return doctest.DocTestParser().get_doctest(source, {}, "README", "README.md", 0)


def of_docstrings() -> list[doctest.DocTest]:
    """The examples in every module whose optional library is installed."""
    finder, found = doctest.DocTestFinder(), []
    without = [name for name, needs in NEEDS.items() if importlib.util.find_spec(needs) is None]
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        )
        if path.stem != "__main__" and not any(f"jaxgmm.{missing}" in name for missing in without):
            module = importlib.import_module(name)
            tests = finder.find(module, extraglobs=NAMES)
            found += [test for test in tests if test.examples]
    return found


def numbers_apart(shown: str, printed: str) -> bool:
    """Whether two texts differ in more than the last digits of their numbers."""
    number = r"-?\d[\d.]*(?:e-?\d+)?"
    pairs = zip(re.findall(number, shown), re.findall(number, printed), strict=False)
    apart = [
        a for a, b in pairs if "e" not in a and abs(float(a) - float(b)) > 1e-4 * abs(float(a))
    ]
    words = lambda text: re.sub(number, "#", text).split()
    return bool(apart) or words(shown) != words(printed)


if __name__ == "__main__":
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    readme = of_readme()
    runner.run(readme, clear_globs=False)
    summary = re.findall(r"```text\n(Gaussian mixture.*?)```", README, re.S)[0]
    apart = numbers_apart(summary, readme.globs["told"])
    if apart:
        print("The README shows another summary than", readme.globs["told"], sep="\n")
    docstrings = of_docstrings()
    for test in docstrings:
        runner.run(test)
    print(f"{len(readme.examples)} lines of the README and {len(docstrings)} docstrings run")
    runner.summarize()
    sys.exit(bool(runner.failures) or apart or len(readme.examples) < 15 or len(docstrings) < 35)
