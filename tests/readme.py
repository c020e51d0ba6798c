"""Runs the Python blocks of every page (README.md) and the examples in docstrings, and fails unless
they print what is shown there. Arguments name folders whose pages alone are run."""

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
import jaxgmm.plot

PACKAGE = pathlib.Path(jaxgmm.__file__).parent
ROOT = pathlib.Path(__file__).parent.parent
FOLDERS = [ROOT / "jaxgmm", ROOT / "examples", ROOT / "tests"]
# Every page by its path from the root of the repository.
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in [ROOT / "README.md", *sorted(p for f in FOLDERS for p in f.rglob("README.md"))]
}
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
# The names that examples in docstrings use without importing them.
NAMES = {
    "jax": jax, "jnp": jnp, "np": np, "optax": optax, "jaxgmm": jaxgmm, "plot": jaxgmm.plot,
    "os": os, "tempfile": tempfile,
}  # fmt: skip
NEEDS = {"plot": "matplotlib", "sklearn": "sklearn"}
MISSING = [name for name, needs in NEEDS.items() if importlib.util.find_spec(needs) is None]


def of_page(name: str) -> doctest.DocTest:
    """The Python blocks of a page, as one program with names of its own."""
    source = "\n".join(re.findall(r"```python\n(.*?)```", PAGES[name], re.S))
    return doctest.DocTestParser().get_doctest(source, {}, name, name, 0)


def of_pages() -> dict[str, doctest.DocTest]:
    """The blocks of every page whose optional library is installed."""
    without = {f"jaxgmm/{name}/README.md" for name in MISSING}
    return {name: of_page(name) for name in PAGES if name not in without}


def of_docstrings() -> list[doctest.DocTest]:
    """The examples in every module whose optional library is installed."""
    finder, found = doctest.DocTestFinder(), []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        )
        if path.stem != "__main__" and not any(f"jaxgmm.{missing}" in name for missing in MISSING):
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


def main(folders: list[str]) -> bool:
    """Runs the pages of these folders, or everything. Returns whether something failed."""
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    pages, docstrings, apart = of_pages(), [], False
    if folders:
        wanted = [(pathlib.PurePosixPath(folder) / "README.md").as_posix() for folder in folders]
        pages = {name: pages[name] for name in wanted}
    for test in pages.values():
        runner.run(test, clear_globs=False)
    if "jaxgmm/fitting/README.md" in pages:
        fitting = "jaxgmm/fitting/README.md"
        summary = re.findall(r"```text\n(Gaussian mixture.*?)```", PAGES[fitting], re.S)[0]
        printed = pages[fitting].globs["text"]
        apart = numbers_apart(summary, printed)
        if apart:
            print("The page of fitting shows another summary than", printed, sep="\n")
    if not folders:
        docstrings = of_docstrings()
        for test in docstrings:
            runner.run(test)
    lines = sum(len(test.examples) for test in pages.values())
    print(f"{lines} lines of {len(pages)} pages and {len(docstrings)} docstrings run")
    runner.summarize()
    few = not folders and (lines < 60 or len(docstrings) < 35)
    return bool(runner.failures) or apart or few


if __name__ == "__main__":
    # Most of the time is compiling. What is printed is the same.
    jax.config.update("jax_disable_most_optimizations", True)
    sys.exit(main(sys.argv[1:]))
