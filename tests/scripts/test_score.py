"""scripts/score.py: what it prints for whom, that it never averages over a gap, and docs/metrics.md, which it makes."""

import csv
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fusion import images
from fusion.metrics import LEFT_OUT, evaluate, profile
from fusion.registry import METRICS

ROOT = Path(__file__).resolve().parents[2]


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def noise(seed, h=60, w=64):
    return np.random.default_rng(seed).integers(0, 256, (h, w), dtype=np.uint8)


class Workplace:
    """Three folders of one data set, and the program started on them."""

    def __init__(self, folder, capsys):
        self.folder, self.capsys, self.program = folder, capsys, load("score")
        for i, name in enumerate(("a", "b", "c")):
            images.write(folder / "TNO" / "ir" / f"{name}.png", noise(i))
            images.write(folder / "TNO" / "vi" / f"{name}.png", noise(i + 10))
            images.write(folder / "fused" / f"{name}.png", noise(i + 20))

    def run(self, *arguments, status=0):
        got = self.program.main([*self.folders(), *arguments])
        text = self.capsys.readouterr()
        assert got == status, text
        self.error = text.err
        return text.out

    def folders(self):
        return ["--ir", f"{self.folder}/TNO/ir", "--vis", f"{self.folder}/TNO/vi", "--fused", f"{self.folder}/fused"]


@pytest.fixture
def work(tmp_path, capsys):
    return Workplace(tmp_path, capsys)


def means(work, name="cddfuse"):
    triples = [
        (work.folder / "fused" / f"{n}.png", work.folder / "TNO/ir" / f"{n}.png", work.folder / "TNO/vi" / f"{n}.png")
        for n in "abc"
    ]
    names = [n for n, m in profile(name).items() if m.fits((60, 64))]
    found = [evaluate(*(images.grey_levels(images.read(p)) for p in triple), name, names) for triple in triples]
    return {key: float(np.mean([f[key] for f in found])) for key in found[0]}


def test_one_profile_is_a_row_per_metric_with_its_spread(work):
    lines = work.run().splitlines()
    assert lines[0] == f"3 of 3 pictures in {work.folder / 'fused'}"
    assert lines[1].split() == ["mean", "median", "std.", "error", "95", "%", "interval", "unit"]
    for line, (name, mean) in zip(lines[2:], means(work).items(), strict=True):
        cells = line.split()
        assert cells[0].rstrip("↑↓") == name
        assert float(cells[1]) == pytest.approx(mean, abs=1e-4 if mean < 1000 else 0.01)
        assert float(cells[4]) <= float(cells[1]) <= float(cells[6])


def test_chosen_metrics_in_any_spelling(work):
    lines = work.run("--profile", "strict", "--metrics", "qab/f,viff,ENTROPY").splitlines()[2:]
    assert [line.split()[0] for line in lines] == ["Qabf↑", "VIF↑", "EN↑"]


def test_all_conventions_stand_side_by_side(work):
    text = work.run("--profile", "all", "--metrics", "SSIM,MI,QCB")
    lines = text.splitlines()
    assert lines[1].split() == ["cddfuse", "matlab", "strict", "vifb"]
    assert [line.split()[0] for line in lines[2:5]] == ["MI↑", "SSIM↑", "QCB↑"]
    assert len(lines[2].split()) == 4  # vifb has no MI
    expected = [means(work, name)["SSIM"] for name in ("cddfuse", "matlab", "strict", "vifb")]
    assert [float(cell) for cell in lines[3].split()[1:]] == pytest.approx(expected, abs=1e-4)
    assert "cddfuse/SSIM: sum of two, uniform 7x7 window" in text  # why they differ


def test_every_metric_of_every_profile_is_in_the_side_by_side_table(work):
    lines = work.run("--profile", "all").splitlines()
    table = {line.split()[0].rstrip("↑↓†") for line in lines[2 : lines.index("")]}
    assert table == {m.name for m in METRICS.values()}


def test_what_is_undefined_has_a_footnote_and_no_nan(work):
    images.write(work.folder / "fused" / "b.png", np.full((60, 64), 9, np.uint8))
    text = work.run("--profile", "strict")
    assert not re.search(r"\b(nan|inf)\b", text)
    assert "† strict/CC is undefined on 1 of 3 pictures (b), which its mean leaves out" in text
    assert re.search(r"^CC↑† ", text, re.MULTILINE)
    assert (
        "† strict/MS-SSIM is undefined on 3 of 3 pictures (a, b, c), which its mean leaves out; it needs 176 " in text
    )
    assert re.search(r"^MS-SSIM↑† +- +- +- +-$", text, re.MULTILINE)


# --- gaps -------------------------------------------------------------------------------------------------------------


def test_stray_files_change_no_mean(work):
    before = work.run().splitlines()
    images.write(work.folder / "fused" / "stale.png", noise(99))
    (work.folder / "fused" / "thumbs.db").write_bytes(b"x")
    after = work.run().splitlines()
    assert after[0] == f"note: {work.folder / 'fused' / 'stale.png'} belongs to no pair: left out"
    assert after[1:] == before


def test_a_missing_result_is_an_error_and_no_means_are_printed(work):
    (work.folder / "fused" / "b.png").unlink()
    assert work.run(status=1) == ""
    assert work.error.splitlines() == [
        f"error: b: no result in {work.folder / 'fused'}",
        "1 of 3 results are missing: no means (--partial: those of the rest)",
    ]
    assert work.run("--partial", status=1).startswith(f"2 of 3 pictures in {work.folder / 'fused'}\n")


def test_a_broken_result_counts_as_missing(work):
    (work.folder / "fused" / "b.png").write_bytes(b"\x89PNG broken")
    images.write(work.folder / "fused" / "c.png", noise(3, 61, 64))
    assert work.run(status=1) == ""
    lines = work.error.splitlines()
    assert lines[0].startswith(f"error: b: {work.folder / 'fused' / 'b.png'} ")
    assert lines[1].startswith("error: c: fused is 61x64 but ir is 60x64: bring all three to one size first")
    assert lines[2].startswith("2 of 3 results are missing")


def test_every_value_goes_into_the_csv_also_of_a_partial_run(work):
    (work.folder / "fused" / "b.png").unlink()
    path = work.folder / "new" / "values.csv"
    work.run("--csv", str(path), "--workers", "2", status=1)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["a", "c"]
    paths = [work.folder / where / "c.png" for where in ("fused", "TNO/ir", "TNO/vi")]
    expected = evaluate(*(images.read(path) for path in paths))
    assert {key: float(value) for key, value in list(rows[1].items())[1:]} == {
        f"cddfuse/{name}": value for name, value in expected.items()
    }


# --- numbers of others ------------------------------------------------------------------------------------------------


def test_a_quoted_number_finds_its_convention(work):
    values = {name: means(work, name)["SSIM"] for name in ("cddfuse", "matlab", "vifb", "strict")}
    for name, value in values.items():
        text = work.run("--metric", "ssim", "--match", f"{value:.4f}")
        assert text.splitlines()[1].split()[:3] == [f"{name}/SSIM", f"{value:.4f}", "agrees"]
        assert text.splitlines()[-1] == f"{value:.4f} agrees with {name}/SSIM"
    text = work.run("--metric", "SSIM", "--match", "0.9876")
    assert text.endswith("0.9876 agrees with no convention known here\n")
    assert "% off" in text


def test_fewer_digits_agree_with_more(work):
    value = means(work)["SD"]
    told = work.run("--metric", "SD", "--match", f"{value:.1f}").splitlines()[-1]
    assert told == f"{value:.1f} agrees with cddfuse/SD, matlab/SD, strict/SD, vifb/SD"


def test_published_row_of_the_folder_or_by_name(work):
    lines = work.run("--published").splitlines()
    assert lines[1] == "TNO, as CDDFuse prints it: 0 of 8 cells pass"
    assert lines[3].split() == ["published", "7.12", "46.00", "13.15", "2.19", "1.76", "0.77", "0.54", "1.03"]
    ours = {name: means(work)[name] for name in lines[2].split()}
    assert lines[4].split() == ["ours", *(f"{value:.2f}" for value in ours.values())]
    assert lines[5].split()[1] == f"{round(ours['SD'], 2) - 46.0:+.2f}"
    assert work.run("--published", "MRI_CT").count("as CDDFuse prints it") == 2


QUICK = [
    ("TNO", "ir", "vi", None, "TNO, as CDDFuse prints it: 8 of 8 cells pass"),
    ("MRI_CT", "CT", "MRI", "MRI_CT (IVF weights)", "MRI_CT (IVF weights), as CDDFuse prints it: 8 of 8 cells pass"),
]
REST = [
    ("RoadScene", "ir", "vi", None, "8 of 8 cells pass"),
    ("MRI_PET", "PET", "MRI", None, "7 of 8 cells pass"),  # 70.73, not 70.74
    ("MRI_SPECT", "SPECT", "MRI", None, "8 of 8 cells pass"),
]


@pytest.mark.shared
@pytest.mark.parametrize("sets", [QUICK, pytest.param(REST, marks=pytest.mark.slow)], ids=["quick", "rest"])
def test_the_authors_pictures_pass(shared, capsys, sets):
    for one in sets:
        assert_the_authors_pictures_pass(shared, capsys, *one)


def assert_the_authors_pictures_pass(shared, capsys, name, ir, vis, row, told):
    data = shared / "data" / name
    fused = shared / "golden/cddfuse_official_outputs" / name
    arguments = ["--ir", str(data / ir), "--vis", str(data / vis), "--fused", str(fused), "--published"]
    assert load("score").main([*arguments, *([row] if row else [])]) == 0
    assert told in capsys.readouterr().out


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "strickt"], "No metric profile named 'strickt'. Known: .* Did you mean 'strict'"),
        (["--metrics", "SSIN"], "No metric named 'SSIN'. Known: .* Did you mean 'SSIM'"),
        (["--metrics", "fmi_pixel"], "No metric named 'fmi_pixel'.* It is left out: how Haghighat"),
        (["--profile", "matlab", "--metrics", "MS-SSIM"], "'MS-SSIM' in profile 'matlab': what the set calls MS-SSIM"),
        (["--published", "TNX"], "--published: no row called 'TNX'; there are: TNO, RoadScene, "),
        (["--fused", "nowhere"], "nowhere is not a folder"),
    ],
)
def test_errors_are_one_line(work, arguments, message):
    assert work.run(*arguments, status=2) == ""
    assert re.match(f"error: .*{message}", work.error), work.error
    assert work.error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    ["--match 1.0", "--match x --metric SD", "--match 1 --metrics SD,EN", "--match inf --metric SD", "--workers 0"],
)
def test_usage_errors(work, arguments):
    with pytest.raises(SystemExit) as stopped:
        work.run(*arguments.split())
    assert stopped.value.code == 2


def test_folders_are_needed(capsys):
    with pytest.raises(SystemExit):
        load("score").main(["--ir", "x"])
    assert "--ir, --vis and --fused are needed" in capsys.readouterr().err


def test_as_a_program_without_torch(work):
    """Scoring needs no PyTorch, which takes seconds to load."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/score.py"), *work.folders(), "--metrics", "EN"],
        capture_output=True,
        text=True,
        cwd=work.folder,
        env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1", "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0
    assert re.search(r"^EN↑ +7\.\d{4} ", done.stdout, re.MULTILINE)
    assert not re.search(r"\|\s+torch$", done.stderr, re.MULTILINE)


# --- docs/metrics.md --------------------------------------------------------------------------------------------------


def numbers(text):
    return [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", text)]


def test_the_documentation_is_what_the_program_prints(capsys, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    assert load("score").main(["--explain"]) == 0
    printed = capsys.readouterr().out.strip()
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    written = text.partition("<!-- generated -->")[2].strip()
    assert re.sub(r"-?\d+(\.\d+)?", "#", written) == re.sub(r"-?\d+(\.\d+)?", "#", printed), (
        "python scripts/score.py --explain, and paste it behind <!-- generated -->"
    )
    # Other decoders differ by a grey level here and there.
    assert numbers(written) == pytest.approx(numbers(printed), rel=2e-3)


def test_the_documentation_has_every_metric_and_every_gap():
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    for m in METRICS.values():
        assert f"### {m.name}\n" in text
        assert m.source in text
    for key, reason in LEFT_OUT.items():
        assert f"- `{key}`: {reason}." in text
