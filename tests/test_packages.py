"""The packages import one another in one direction."""

import ast
import pathlib

import pytest

import jaxgmm

ROOT = pathlib.Path(jaxgmm.__file__).parent
# From bottom to top: a package imports from those before it alone.
PACKAGES = [
    "internal", "tables", "numerics", "families", "data", "mixture", "algebra", "divergences",
    "kernels", "objective", "starts",
    "algorithms", "fitting", "batches", "selection", "inference", "comparison", "reports", "plot", "sklearn", "convert", "cli",
]  # fmt: skip
# Pairs (importing, imported) that have nothing to do with each other.
APART = [("data", "families"), ("algorithms", "starts")]
# Leaves: only the command line imports them, and `jaxgmm/__init__.py` where they are public.
LEAVES = {"reports", "plot", "sklearn", "convert", "cli"}
# A result that prints, draws or saves itself asks for the leaf when it is asked to.
LATE = {
    ("fitting", "reports"),
    ("selection", "plot"),
    ("comparison", "plot"),
    ("comparison", "reports"),
    ("algebra", "plot"),
}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT)


def imported(path: pathlib.Path, late: bool) -> set[str]:
    """The packages that a module imports from: when it is imported, or inside its functions."""
    tree = ast.parse(path.read_text("utf-8"))
    early = set(tree.body)
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node not in early) == late:
            if node.level == 2 and node.module is None:
                found |= {alias.name for alias in node.names}
            elif node.level == 2:
                found.add(node.module.split(".")[0])
            elif node.level == 0 and node.module and node.module.startswith("jaxgmm."):
                found.add(node.module.split(".")[1])
    return found


def named(path):
    return str(path.relative_to(ROOT))


def test_every_package_has_its_place():
    folders = {path.parent.name for path in MODULES}
    assert folders == set(PACKAGES)
    flat = {path.name for path in ROOT.glob("*.py")}
    assert flat == {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_imports_point_down(path):
    package = path.parent.name
    below = set(PACKAGES[: PACKAGES.index(package)])
    allowed = (below if package == "cli" else below - LEAVES) | {package}
    allowed -= {other for one, other in APART if one == package}
    assert imported(path, late=False) <= allowed
    late = {other for one, other in LATE if one == package}
    assert imported(path, late=True) <= allowed | late


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_entered_by_their_modules(package):
    """An `__init__` holds its docstring, except those of public modules, which export names."""
    tree = ast.parse((ROOT / package / "__init__.py").read_text("utf-8"))
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1 or package in ("plot", "sklearn", "convert")
