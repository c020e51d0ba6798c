"""The pages (README.md, and one in each folder): their commands, names, links and pictures are
there. (readme.py runs their code.)"""

import ast
import importlib
import pathlib
import posixpath
import re

import pytest
from readme import PAGES, of_page

import jaxgmm

ROOT = pathlib.Path(__file__).parent.parent
README, MAP = PAGES["README.md"], PAGES["jaxgmm/README.md"]
MOST_BYTES = 6144
# Where a page may say that a file is: beside itself, or in one of these.
PLACES = [ROOT, ROOT / "jaxgmm", ROOT / "tests", ROOT / "examples"]
WITH_CODE = [
    "README.md", "jaxgmm/README.md",
    *(f"jaxgmm/{package}/README.md" for package in (
        "data", "algebra", "families", "kernels", "fitting", "algorithms", "selection", "comparison",
        "sklearn", "plot", "cli",
    )),
]  # fmt: skip
PAGE_OF = pytest.mark.parametrize("page", PAGES)


def prose(page: str) -> str:
    """A page without its blocks of code and output."""
    return re.sub(r"```.*?```", "", PAGES[page], flags=re.S)


def anchors(page: str) -> set[str]:
    """The links that GitHub makes for a page's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.M)
    titles = [re.sub(r"\[(.*?)\]\(.*?\)", r"\1", title) for title in headings]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def targets(page: str) -> list[tuple[str, str]]:
    """Where a page's links lead within the repository: a path from its root, and an anchor."""
    found = []
    for target in re.findall(r"\]\(([^)]*)\)", prose(page)):
        if not target.startswith(("http:", "https:")):
            path, _, anchor = target.partition("#")
            here = posixpath.join(posixpath.dirname(page), path) if path else page
            found.append((posixpath.normpath(here), anchor))
    return found


def is_there(page: str, name: str) -> bool:
    return any((place / name).exists() for place in [(ROOT / page).parent, *PLACES])


def test_commands():
    commands = re.findall(r"^python3 -m venv \.venv && .*$", README, re.M)
    assert len(commands) == 2
    assert commands[0].endswith("examples/quickstart.py")
    assert commands[1].endswith("-m pytest -q -n auto --dist loadfile")


def test_the_readme_is_short():
    assert len(README.encode("utf-8")) <= MOST_BYTES


def test_every_page_is_found_and_linked():
    linked = {path for page in ("README.md", "jaxgmm/README.md") for path, _ in targets(page)}
    assert set(WITH_CODE) | {
        "examples/README.md", "examples/benchmarks/README.md", "tests/README.md",
    } <= set(PAGES)  # fmt: skip
    assert set(PAGES) - {"README.md"} <= linked


def test_every_page_of_the_package_has_code():
    for page in WITH_CODE:
        assert of_page(page).examples, page


@PAGE_OF
def test_python_blocks_are_run(page):
    """A block that begins without a prompt would not run, unseen."""
    for block in re.findall(r"```(?:python|py|pycon)\n(.*?)```", PAGES[page], re.S):
        assert block.startswith(">>> ")
    assert "```py\n" not in PAGES[page] and "```pycon" not in PAGES[page]


def test_every_public_name_and_family_is_on_the_map():
    for name in [*jaxgmm.__all__, *jaxgmm.FAMILIES]:
        assert re.search(rf"\b{name}\b", MAP), name


@PAGE_OF
def test_links_lead_somewhere(page):
    for path, anchor in targets(page):
        assert (ROOT / path).exists(), path
        assert not anchor or anchor in anchors(path), f"{path}#{anchor}"


def test_pictures_are_small():
    pictures = {path for page in PAGES for path, _ in targets(page) if path.endswith(".png")}
    assert any(path.endswith(".png") for path, _ in targets("README.md"))
    assert max((ROOT / path).stat().st_size for path in pictures) < 150_000


@PAGE_OF
def test_files_that_a_page_speaks_of_exist(page):
    text = prose(page)
    files = set(re.findall(r"`([\w./]+\.(?:py|md|cff))`", text))
    folders = set(re.findall(r"`((?:jaxgmm|examples|tests)(?:/\w+)*)/?`", text))
    run = set(re.findall(r"(?<![\w./])((?:\.ci|examples|tests)/[\w./]+)", PAGES[page]))
    for name in files | folders | run:
        assert is_there(page, name.rstrip(".")), name


@PAGE_OF
def test_modules_that_a_page_speaks_of_exist(page):
    """`jaxgmm.a.b` is a module, or something in one."""
    for name in set(re.findall(r"\bjaxgmm(?:\.[A-Za-z_]\w*)+", PAGES[page])):
        parts, value = name.split("."), jaxgmm
        if parts[1] == "NAME":  # stands for any
            continue
        for depth, part in enumerate(parts[1:], 2):
            if not hasattr(value, part):
                if parts[1] == "sklearn":
                    pytest.importorskip("sklearn")
                importlib.import_module(".".join(parts[:depth]))
            value = getattr(value, part)


def test_every_module_is_on_the_map():
    start = MAP.index("\n## The map")
    rooms = MAP[start:].split("\n## ")[1]
    package = ROOT / "jaxgmm"
    for path in package.rglob("*.py"):
        name = path.relative_to(package).as_posix()
        assert path.name == "__init__.py" or f"`{name}`" in rooms, name
    for folder in package.iterdir():
        if (folder / "__init__.py").is_file():
            assert f"\n### {folder.name}: " in rooms, folder.name


def test_every_public_function_says_what_it_takes_and_returns():
    for name in jaxgmm.__all__:
        value = getattr(jaxgmm, name)
        if callable(value):
            assert value.__doc__ and len(value.__doc__) > 60, name


def test_every_public_function_has_an_example():
    elsewhere = {"progress", "profile", "use_all_cores", "load", "certificate"}  # pages, or prose
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
