"""The table of results: a comparison's numbers beside the papers', and the same in every page."""

import csv
import json
import sys
from pathlib import Path

import pytest
import results_table
from results_table import FIGURES, MEASURES, PAIR, column, fill, markdown, read, select

from talkingface.cli import main
from talkingface.evaluation import PROTOCOLS
from talkingface.evaluation.results import COPY, GROUND_TRUTH, wrong_audio
from tests.models.tiny import DAVS_MAIN, PC_AVS
from tests.test_docs import PAGES, ROOT, name

RESULTS = ROOT / "docs/results.csv"
COMPARE = "talkingface compare --models PC-AVS=pc_avs DAVS=davs --protocols self exact-still"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a report on two tiny models, and the csv that the script makes of it."""
    folder = tmp_path_factory.mktemp("results")
    small = "--clips 3 --seconds 0.24 --size 64 --videos 0 --device cpu --output report"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        PC_AVS.responsive().save_pretrained("pc_avs")
        DAVS_MAIN.responsive().save_pretrained("davs")
        assert main(f"{COMPARE} {small}".split()[1:]) == 0
        run("report", "--csv", "results.csv", patch=patch)
    return folder


def run(*arguments: str | Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sys, "argv", ["results_table.py", *map(str, arguments)])
    results_table.main()


def test_numbers_of_the_report_stand_beside_those_of_the_papers(made: Path) -> None:
    with (made / "report/results.csv").open() as file:
        report = {
            (r["model"], r["protocol"], r["metric"].split("[")[0], r["region"]): r
            for r in csv.DictReader(file)
        }
    table = {(r["method"], r["protocol"], r["measure"]): r for r in read(made / "results.csv")}
    for method in ("DAVS", "DAVS from lips", "PC-AVS"):
        for protocol in ("self", "exact-still"):
            for title, metric, region in (
                ("PSNR, face", "psnr", "face"),
                ("mouth LMD", "lmd_mouth", ""),
                ("yaw, mean error", "mae_yaw", ""),
            ):
                row, key = table[method, protocol, title], (protocol, metric, region)
                assert row["here"] == report[method, *key]["value"]
                assert row["here: wrong audio"] == report[wrong_audio(method), *key]["value"]
                assert row[f"here: {COPY}"] == report[COPY, *key]["value"]
                assert row[f"here: {GROUND_TRUTH}"] == report[GROUND_TRUTH, *key]["value"]
                assert row["command"].startswith(COMPARE)
            assert table[method, protocol, "PSNR, face"]["here: clips"] == "3"
    row = table["PC-AVS", "self", "PSNR, frame"]
    assert (row["paper: LRW"], row["paper: VoxCeleb2"], row["paper: MEAD"]) == (
        "",
        "17.37",
        "19.95",
    )
    assert row["paper: from"] == "FC-TFG (ACM MM 2023), Table 1"
    row = table["DAVS", "self", "mouth LMD"]
    assert (row["paper: LRW"], row["paper: LRW, copy of the source"]) == ("3.48", "4.27")
    # What was not measured here is left empty, and what no paper has as well.
    row = table["FC-TFG", "self", "LSE-C"]
    assert row["paper: VoxCeleb2"] == "8.46"
    assert {row[key] for key in row if key.startswith("here") or key == "command"} == {""}
    row = table["DAVS", "exact-still", "mouth LMD"]
    assert {row[key] for key in row if key.startswith("paper")} == {""}


def test_markdown_shows_the_csv(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        run("--csv", made / "results.csv", "--markdown", patch=patch)
    table, command = capsys.readouterr().out.split("\n\nMeasured here on 3 clips (DAVS, ")
    assert COMPARE in command
    head, _, *lines = table.splitlines()
    names = [cell.strip() for cell in head.strip("|").split("|")]
    rows = read(made / "results.csv")
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        cells = dict(zip(names, (cell.strip() for cell in line.strip("|").split("|")), strict=True))
        assert (cells["method"], cells["protocol"]) == (row["method"], row["protocol"])
        assert cells["measure"].startswith(row["measure"])
        assert ("(3 failed)" in cells["here"]) == (row["here: failed"] == "3")
        for key in (key for key in names if key.startswith("here")):
            if row[key]:
                digits = MEASURES[row["measure"]].digits
                assert float(cells[key]) == pytest.approx(float(row[key]), abs=0.51 * 10**-digits)
            else:
                assert cells[key].split(" (")[0] == "-"
        assert cells["paper: VoxCeleb2"].split(" (")[0] == (row["paper: VoxCeleb2"] or "-")
    (line,) = [line for line in lines if line.startswith("| PC-AVS | pose | LSE-C ↑ |")]
    assert "| - | - | - | - | 6.4 (ground truth 6.5) | 5.9 (ground truth 5.9) | - |" in line


def test_pages_are_renewed(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = made / "page.md"
    pair = "<!-- results exact-still; PSNR, face -->\n<!-- /results -->"
    page.write_text(f"# Page\n\n{pair}\n\nOr `<!-- results -->`.\n")
    options = ("--csv", made / "results.csv", "--update", page)
    run(*options, patch=monkeypatch)
    text, rows = page.read_text(), read(made / "results.csv")
    assert text.count("| exact-still | PSNR, face ↑ |") == text.count("↑") == 3
    assert text.endswith("<!-- /results -->\n\nOr `<!-- results -->`.\n")
    # Once more changes nothing, and a number that was touched is put right.
    assert fill(text, rows) == text
    value = f"| {float(select(rows, 'exact-still; PSNR, face')[0]['here']):.2f} |"
    touched = text.replace(value, "| 0.01 |")
    assert touched != text == fill(touched, rows)

    page.write_text("# Page\n")
    with pytest.raises(ValueError, match=r"page\.md has no lines <!-- results -->"):
        run(*options, patch=monkeypatch)
    with pytest.raises(ValueError, match="no protocol or measure 'mouth'"):
        fill("<!-- results mouth -->\n<!-- /results -->\n", rows)


def test_what_was_measured_of_others_can_be_kept(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made)
    old = (made / "results.csv").read_text()
    table = made / "older.csv"
    # What stands there of a protocol that the report does not have.
    changed = old.replace("PC-AVS,exact-still,", "PC-AVS,exact,")
    table.write_text(changed)
    run("report", "--csv", table, "--add", patch=monkeypatch)
    found = {(r["method"], r["protocol"]) for r in read(table) if r["here"]}
    assert found == {
        *((m, p) for m in ("DAVS", "DAVS from lips", "PC-AVS") for p in ("self", "exact-still")),
        ("PC-AVS", "exact"),
    }
    kept = [r for r in read(table) if r["protocol"] != "exact"]
    assert kept == read(made / "results.csv")
    run("report", "--csv", table, patch=monkeypatch)
    assert table.read_text() == old


def test_only_repeatable_comparisons_are_taken(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="is in two comparisons under 'self'"):
        run(made / "report", made / "report", "--csv", made / "twice.csv", patch=monkeypatch)
    record = made / "report/repeat.json"
    text = record.read_text()
    record.write_text(json.dumps({"command": "talkingface.evaluation.compare"}))
    with pytest.raises(ValueError, match="repeat it with `talkingface compare`"):
        run(made / "report", "--csv", made / "python.csv", patch=monkeypatch)
    record.write_text(text)
    assert not [*made.glob("twice.csv"), *made.glob("python.csv")]


def test_figures_of_the_papers_are_those_of_known_measures() -> None:
    for figure in FIGURES:
        assert figure["protocol"] in PROTOCOLS and figure["measure"] in MEASURES
        assert figure["row"] in ("", COPY, GROUND_TRUTH) and float(figure["value"]) >= 0
    cells = [(f["method"], f["protocol"], f["measure"], column(f)) for f in FIGURES]
    assert len(set(cells)) == len(cells) > 50


@pytest.mark.parametrize("page", [p for p in PAGES if PAIR.search(p.read_text())], ids=name)
def test_pages_agree_with_the_csv(page: Path) -> None:
    rows = read(RESULTS) if RESULTS.is_file() else []
    assert page.read_text() == fill(page.read_text(), rows), (
        "run examples/results_table.py --update"
    )


def test_the_csv_has_the_figures_of_the_papers(made: Path) -> None:
    for path in (made / "results.csv", *ROOT.glob("docs/results.csv")):
        rows = read(path)
        for figure in FIGURES:
            kind = (figure["method"], figure["protocol"], figure["measure"])
            same = [r for r in rows if (r["method"], r["protocol"], r["measure"]) == kind]
            assert same and all(row[column(figure)] == figure["value"] for row in same), kind
    assert markdown([]) == ""
