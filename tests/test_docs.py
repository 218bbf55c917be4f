"""The documentation holds together: links, pictures, headings and Python code of every page."""

import ast
import re
from pathlib import Path

import pytest

import zf_lightning
from tests.conftest import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(page for name in ("docs", "benchmarks", "findings") for page in (ROOT / name).glob("*.md")),
]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub names them in addresses."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def relative_links(page: Path) -> list[str]:
    """Targets of links and pictures that are not addresses on the web."""
    found = LINK.findall(FENCE.sub("", page.read_text()))
    return [link for link in found if not re.match(r"https?:", link)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in relative_links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_is_named_exists(page: Path) -> None:
    named = r"`((?:zf_lightning|callbacks|conf|tests|benchmarks|findings|docs)/[\w/]+\.\w+)`"
    for path in re.findall(named, FENCE.sub("", page.read_text())):
        assert (ROOT / path).exists() or "NAME" in path, f"{page.name}: {path}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_code_is_python(page: Path) -> None:
    for language, code in FENCE.findall(page.read_text()):
        if language == "python":
            ast.parse(code)


def test_readme_lists_every_page() -> None:
    listed = {link.partition("#")[0] for link in relative_links(ROOT / "README.md")}
    for page in (ROOT / "docs").glob("*.md"):
        assert f"docs/{page.name}" in listed, page.name


def test_every_picture_is_shown() -> None:
    shown = {(page.parent / link).resolve() for page in PAGES for link in relative_links(page)}
    for picture in (ROOT / "docs").glob("*.jpg"):
        assert picture in shown, picture.name


def test_imports_point_down_the_table_of_rooms() -> None:
    table = (ROOT / "docs" / "rooms.md").read_text()
    rooms = re.findall(r"^\| `zf_lightning/(\w+)/`", table, re.MULTILINE)
    package = ROOT / "zf_lightning"
    for file in package.glob("*/**/*.py"):
        room = file.relative_to(package).parts[0]
        assert room in rooms, room
        for statement in ast.parse(file.read_text()).body:
            if not isinstance(statement, ast.ImportFrom):
                continue
            names = [f"{statement.module}.{name.name}" for name in statement.names]
            for target in {".".join(name.split(".")[1:2]) for name in names} & set(rooms):
                if names[0].startswith("zf_lightning."):
                    assert rooms.index(target) >= rooms.index(room), f"{file}: {target}"


def test_citation_is_of_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {zf_lightning.__version__}\n" in citation
