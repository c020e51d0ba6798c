"""The README: its commands, names, links and picture are there. (readme.py runs its code.)"""

import ast
import pathlib
import re

import jaxgmm

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_commands():
    commands = re.findall(r"^python3 -m venv \.venv && .*$", README, re.M)
    assert len(commands) == 2
    assert commands[0].endswith("examples/quickstart.py")
    assert commands[1].endswith("-m pytest -q -n auto --dist loadfile")


def test_every_public_name_and_family_is_in_the_readme():
    for name in [*jaxgmm.__all__, *jaxgmm.FAMILIES]:
        assert re.search(rf"\b{name}\b", README), name


def test_links_lead_somewhere_and_pictures_are_small():
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", README, flags=re.S), re.M)
    anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}
    targets = re.findall(r"\]\(([^)]*)\)", README)
    assert {target[1:] for target in targets if target.startswith("#")} <= anchors
    files = [ROOT / target for target in targets if not target.startswith(("#", "http"))]
    assert all(path.is_file() for path in files)
    pictures = [path.stat().st_size for path in files if path.suffix == ".png"]
    assert pictures
    assert max(pictures) < 150_000


def test_files_that_the_readme_speaks_of_exist():
    places = [ROOT, ROOT / "jaxgmm", ROOT / "tests", ROOT / "examples"]
    for name in set(re.findall(r"`([\w/]+\.(?:py|md|cff))`", README)):
        assert any((place / name).is_file() for place in places), name


def test_every_room_is_on_the_map():
    built = README[README.index("## How it is built") :]
    for path in (ROOT / "jaxgmm").glob("[a-z]*.py"):
        helper = path.stem.startswith(("sklearn_", "tabular"))
        assert helper or f"`{path.name}`" in built, path.name


def test_every_public_function_says_what_it_takes_and_returns():
    for name in jaxgmm.__all__:
        value = getattr(jaxgmm, name)
        if callable(value):
            assert value.__doc__ and len(value.__doc__) > 60, name


def test_every_public_function_has_an_example():
    elsewhere = {"progress", "profile", "use_all_cores", "load", "certificate"}  # README, or prose
    for name in jaxgmm.__all__:
        value = getattr(jaxgmm, name)
        if callable(value) and not isinstance(value, type) and name not in elsewhere:
            assert ">>> " in value.__doc__, name


def test_examples_open_as_notebooks():
    for path in (ROOT / "examples").glob("*.py"):
        text = path.read_text("utf-8")
        if "# %%" not in text:
            continue
        cells = re.split(r"^# %%.*$", text, flags=re.M)
        for cell in cells:
            ast.parse(cell)  # a cell that ends within a statement cannot run
        assert len(cells) > 2 and "__file__" not in text and "argparse" not in text, path.name
