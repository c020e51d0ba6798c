"""The public names: what `__init__.pyi` lists is what users get, one module at a time."""

import ast
import pathlib
import subprocess
import sys

import pytest

import jaxgmm

STUB = pathlib.Path(jaxgmm.__file__).with_suffix(".pyi")


def test_each_public_name_is_an_object_of_its_module():
    for name in jaxgmm.__all__:
        assert getattr(jaxgmm, name) is not None
        home = getattr(getattr(jaxgmm, name), "__module__", None)
        assert home is None or home.startswith("jaxgmm."), name


def test_the_stub_imports_the_names_of_all_and_the_public_packages():
    tree = ast.parse(STUB.read_text("utf-8"))
    names = [a.name for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names]
    assert len(names) == len(set(names))
    assert set(names) == {*jaxgmm.__all__, "convert", "plot", "sklearn"}
    assert set(dir(jaxgmm)) == {*names, "__version__"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'gaussian_mixture'"):
        jaxgmm.gaussian_mixture  # noqa: B018
    with pytest.raises(ImportError):
        from jaxgmm import gaussian_mixture  # noqa: F401


def test_a_name_loads_what_it_needs_alone():
    code = "import sys, jaxgmm; jaxgmm.fit; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "jaxgmm.fitting.fit" in loaded
    others = ("comparison", "divergences", "inference", "selection", "sklearn")
    assert not [name for name in loaded if name.startswith(tuple(f"jaxgmm.{o}" for o in others))]
