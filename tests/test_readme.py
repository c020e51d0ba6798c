"""The README: its commands and names are there. (readme.py runs its code.)"""

import pathlib
import re

import jaxgmm

README = (pathlib.Path(__file__).parent.parent / "README.md").read_text("utf-8")


def test_commands():
    commands = re.findall(r"^python3 -m venv \.venv && .*$", README, re.M)
    assert len(commands) == 2
    assert commands[0].endswith("examples/quickstart.py")
    assert commands[1].endswith("-m pytest -q -n auto --dist loadfile")


def test_every_public_name_and_family_is_in_the_readme():
    names = [name for name in dir(jaxgmm) if not name.startswith("_")]
    public = [name for name in names if not isinstance(getattr(jaxgmm, name), type(jaxgmm))]
    for name in [*public, *jaxgmm.FAMILIES]:
        assert re.search(rf"\b{name}\b", README), name


def test_every_public_function_says_what_it_takes_and_returns():
    for name in dir(jaxgmm):
        value = getattr(jaxgmm, name)
        if not name.startswith("_") and callable(value):
            assert value.__doc__ and len(value.__doc__) > 60, name
