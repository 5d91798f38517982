"""What the README and the documentation show is run, or checked against the code."""

import configparser
import re
import shlex
import wave
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

import talkingface
from talkingface.cli import _parser
from talkingface.data.video import VideoClip, VideoWriter, write_image
from talkingface.models.bundled import bundled_folder
from talkingface.training import train
from tests.models.tiny import DAVS_MAIN, FC_TFG, PC_AVS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("docs/methods/*.md"),
        *ROOT.glob("talkingface/models/*/README.md"),
        *ROOT.glob("talkingface/models/*/*/README.md"),
        *ROOT.glob("examples/*/README.md"),
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


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the pages speak of, as small as they can be."""
    monkeypatch.chdir(tmp_path)
    for person in ("anna", "ben"):
        Path("prepared", person).mkdir(parents=True)
        with VideoWriter(f"prepared/{person}/clip.mp4", 32, 32, torch.zeros(16_000)) as video:
            video.write(torch.rand(25, 3, 32, 32))
    write_image("cropped_face.png", torch.zeros(3, 32, 32, dtype=torch.uint8))
    write_image("face_64px.png", torch.zeros(3, 64, 64, dtype=torch.uint8))
    with wave.open("speech.wav", "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 3200))
    PC_AVS().save_pretrained("runs/pc_avs/model")
    DAVS_MAIN().save_pretrained("runs/davs/model")
    FC_TFG().save_pretrained("runs/fc_tfg/model")
    return tmp_path


def run_python(page: Path) -> None:
    """Run the blocks of a page in order, in one namespace."""
    namespace: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(compile(block, name(page), "exec"), namespace)


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p != README and blocks(p, "python")], ids=name
)
def test_python_blocks_run(page: Path, workspace: Path) -> None:
    run_python(page)


def test_python_of_the_readme_leaves_a_video_and_a_model(workspace: Path) -> None:
    run_python(README)
    assert VideoClip("speaking.mp4").frame_count == 5  # 3200 samples of speech
    before = load_file(bundled_folder("pc-avs-tiny") / "model.safetensors")
    after = load_file("runs/fine_tuned/model.safetensors")
    moved = {key for key in before if not torch.equal(before[key].to(after[key]), after[key])}
    assert any(".generator." in key for key in moved)
    frozen = [k for k in moved if ".identity_encoder." in k and k.endswith(("weight", "bias"))]
    assert not frozen


def test_pages_show_python_and_shell() -> None:
    """The tests of blocks would pass if no block were found."""
    assert blocks(README, "python")
    assert [words[0] for page, words in commands("talkingface") if page == "README.md"]


TRAINING = ("fit", "validate", "test")


@pytest.mark.parametrize(
    ("page", "words"), [c for c in commands("talkingface") if c[1][0] not in TRAINING]
)
def test_tool_commands_parse(page: str, words: list[str]) -> None:
    _parser().parse_args(words)  # exits on what it does not know


@pytest.mark.parametrize(
    ("page", "words"), [c for c in commands("talkingface") if c[1][0] in TRAINING]
)
def test_training_commands_parse(
    page: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        train([*words, "--print_config"])
    assert end.value.code in (0, None), capsys.readouterr().err


@pytest.mark.parametrize(("page", "words"), commands("make"))
def test_make_targets_exist(page: str, words: list[str]) -> None:
    rules = re.findall(r"^([\w -]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = set(" ".join(rules).split())
    assert {word for word in words if "=" not in word} <= targets, page


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
