"""What the README and the documentation show is run, or checked against the code."""

import configparser
import re
import shlex
from pathlib import Path

import pytest
import yaml

import talkingface

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("docs/methods/*.md"),
        *ROOT.glob("talkingface/models/*/README.md"),
    ]
)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page that are marked with a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(program: str) -> list[tuple[str, list[str]]]:
    """Every command line of the pages that starts with a program: page and arguments."""
    found = []
    for page in PAGES:
        for line in "".join(blocks(page, "bash")).replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == program:
                found.append((name(page), words[1:]))
    return found


def name(page: Path) -> str:
    """A page's path as the test's name."""
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=name)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, in one namespace, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(compile(block, name(page), "exec"), namespace)


def test_pages_show_python_and_shell() -> None:
    """The tests of blocks would pass if no block were found."""
    readme = ROOT / "README.md"
    assert blocks(readme, "python")
    assert [words[0] for page, words in commands("talkingface") if page == "README.md"]


@pytest.mark.parametrize(("page", "words"), commands("make"))
def test_make_targets_exist(page: str, words: list[str]) -> None:
    targets = re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {word for word in words if "=" not in word} <= set(targets), page


@pytest.mark.parametrize(("page", "words"), commands("pip"))
def test_extras_exist(page: str, words: list[str]) -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    named = re.findall(r"\[([\w,]+)\]", " ".join(words))
    extras = {extra for group in named for extra in group.split(",")}
    assert extras <= set(setup["options.extras_require"]), page


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing


def test_every_loss_has_its_section() -> None:
    modules = {path.stem for path in (ROOT / "talkingface/losses").glob("[a-z]*.py")}
    page = (ROOT / "docs/losses.md").read_text()
    assert set(re.findall(r"automodule:: talkingface\.losses\.(\w+)", page)) == modules


def test_versions_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == talkingface.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{talkingface.__version__}]" in changelog
