"""test.py, the comparison program: its files, its tables, continuing, and every way it can go wrong."""

from __future__ import annotations

import csv
import errno
import html.parser
import importlib.util
import json
import math
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import fusion
from fusion import images, metrics, page, places, report, weights
from fusion.inference import costs
from fusion.networks import CDDFuse, Swift
from tests.processes import run

ROOT = Path(__file__).resolve().parents[1]
METRICS = list(metrics.profile("cddfuse"))
LOWER_IS_BETTER = {m.name for m in metrics.profile("cddfuse").values() if m.higher_is_better is False}
FILES = {"metrics.csv", "summary.json", "summary.md", "summary.tex", "index.html", ".progress.jsonl"}
SMALL = {"dim": 8, "heads": 2, "blocks": 1}


def load_program():
    """test.py as a module; by path, because Python has a package called `test`."""
    spec = importlib.util.spec_from_file_location("comparison_program", ROOT / "test.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


program = load_program()


def picture(h=48, w=56, *channels, seed=0) -> np.ndarray:
    """Noise on a ramp, so that no two metrics agree by accident."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(20, 150, w).reshape(1, w, *(1 for _ in channels))
    return (ramp + rng.integers(0, 90, (h, w, *channels))).astype(np.uint8)


class Workplace:
    """A folder with data sets and a config, and test.py started in it."""

    def __init__(self, folder: Path, capsys):
        self.folder, self.capsys = folder, capsys
        self.config = {
            "out": "out",
            "models": [{"name": "average"}, {"name": "maximum"}],
            "datasets": [{"name": "A", "root": "A"}],
            "device": "cpu",
        }
        self.add("A", "one", picture(seed=1), picture(48, 56, 3, seed=2))
        self.add("A", "two", picture(50, 45, seed=3), picture(50, 45, seed=4))

    def add(self, dataset: str, name: str, ir=None, vis=None, suffix=".png") -> None:
        for kind, image in (("ir", ir), ("vi", vis)):
            if image is not None:
                images.write(self.folder / dataset / kind / f"{name}{suffix}", image)

    def run(self, *arguments: str, status: int = 0) -> str:
        """What the program prints; stderr must be empty, or one line where it refuses or stops (`self.error`)."""
        (self.folder / "x.yml").write_text(yaml.safe_dump(self.config), encoding="utf-8")
        got = program.main(["-opt", "x.yml", *arguments])
        text = self.capsys.readouterr()
        assert got == status, text
        lines = text.err.splitlines(keepends=True)
        self.error = "".join(line for line in lines if not line.startswith("note: compiling loops"))  # once a clone
        assert self.error.count("\n") == (status in (2, 130)), text.err
        return text.out

    def refuse(self, *arguments: str) -> str:
        """The one line on stderr of a run that must not start."""
        before = sorted(self.folder.rglob("*"))
        assert self.run(*arguments, status=2) == ""
        assert sorted({*self.folder.rglob("*")} - {*before} - {self.folder / "x.yml"}) == []
        assert self.error.startswith("error: ")
        return self.error.removeprefix("error: ").rstrip("\n")

    def rows(self, out="out") -> list[dict]:
        with (self.folder / out / "metrics.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def summary(self, out="out") -> dict:
        def refuse(constant):
            raise AssertionError(f"{constant} is no JSON")

        return json.loads((self.folder / out / "summary.json").read_text(), parse_constant=refuse)


@pytest.fixture
def work(tmp_path, capsys, monkeypatch) -> Workplace:
    monkeypatch.chdir(tmp_path)
    return Workplace(tmp_path, capsys)


@pytest.fixture
def fused(monkeypatch) -> list:
    """Grows by a shape whenever a pair is fused."""
    calls = []
    true = program.infer.fuse

    def counted(network, ir, vis, **options):
        calls.append(ir.shape[:2])
        return true(network, ir, vis, **options)

    monkeypatch.setattr(program.infer, "fuse", counted)
    return calls


@pytest.fixture
def interrupt(monkeypatch):
    """interrupt(n): Ctrl-C arrives in the n-th fusion (from 1); interrupt(None): no more."""
    true = program.infer.fuse

    def arrange(n):
        left = [n]

        def fuse(*arguments, **options):
            if left[0] is not None:
                left[0] -= 1
                if left[0] == 0:
                    raise KeyboardInterrupt
            return true(*arguments, **options)

        monkeypatch.setattr(program.infer, "fuse", fuse)

    return arrange


# --- files and tables -----------------------------------------------------------------------------------------------


def test_all_files_are_there_with_their_columns(work):
    work.add("B b", "ü n.v1", picture(seed=5), picture(seed=6))
    work.config["datasets"].append({"name": "B b", "root": "B b"})
    printed = work.run()
    out = work.folder / "out"
    assert {p.name for p in out.iterdir() if p.is_file()} == FILES
    pictures = {str(p.relative_to(out)) for p in out.rglob("*.png") if p.relative_to(out).parts[0] != "index_files"}
    names = {"A/{}/one.png", "A/{}/two.png", "B b/{}/ü n.v1.png"}
    assert pictures == {name.format(model) for name in names for model in ("average", "maximum")}
    rows = work.rows()
    assert list(rows[0]) == ["dataset", "model", "profile", "image", *METRICS]
    assert [(r["dataset"], r["image"], r["model"]) for r in rows] == [
        (d, i, m) for d, i in (("A", "one"), ("A", "two"), ("B b", "ü n.v1")) for m in ("average", "maximum")
    ]
    assert {r["profile"] for r in rows} == {"cddfuse"}
    assert "A: 2 pairs" in printed
    assert "B b: 1 pairs" in printed
    assert str(Path("out/index.html")) in printed


def test_the_saved_picture_is_the_public_apis_and_the_scores_are_its_scores(work):
    work.run()
    for row in work.rows():
        ir, vis = (work.folder / "A" / kind / f"{row['image']}.png" for kind in ("ir", "vi"))
        saved = work.folder / "out" / "A" / row["model"] / f"{row['image']}.png"
        np.testing.assert_array_equal(images.read(saved), fusion.fuse(fusion.load(row["model"]), ir, vis))
        assert {name: float(row[name]) for name in METRICS} == fusion.evaluate(saved, ir, vis)
    assert images.read(work.folder / "out/A/average/one.png").ndim == 3  # the visible image has colour
    assert images.read(work.folder / "out/A/average/two.png").ndim == 2


def test_means_are_the_means_of_the_rows(work):
    work.run()
    summary, rows = work.summary(), work.rows()
    assert summary["profile"] == "cddfuse"
    assert list(summary["metrics"]) == METRICS
    assert summary["failures"] == []
    assert summary["skipped"] == {}
    (dataset,) = summary["datasets"]
    assert (dataset["name"], dataset["pairs"]) == ("A", 2)
    assert [r["model"] for r in dataset["rows"]] == ["average", "maximum"]
    for row in dataset["rows"]:
        assert row["images"] == 2
        assert row["seconds"] > 0
        assert row["undefined"] == {}
        for name in METRICS:
            values = [float(r[name]) for r in rows if r["model"] == row["model"]]
            assert row["mean"][name] == statistics.fmean(values)


def test_tables_say_where_pictures_were_timed(work):
    here = costs.machine(torch.device("cpu"), torch.get_num_threads())
    assert f"s/image: as the pictures were made, on {here}." in work.run()
    journal = work.folder / "out/.progress.jsonl"
    journal.write_text(journal.read_text().replace(json.dumps(here), '"another"'))
    (work.folder / "out/A/average/one.png").unlink()
    assert f"on {here}; another." in work.run()
    journal.write_text(journal.read_text().replace('"machine": "another"', '"x": 1'))
    assert f"on {here}; a machine that nobody noted." in work.run()
    assert work.summary()["machines"] == [here, "a machine that nobody noted"]


def test_costs_stand_beside_the_scores(work, monkeypatch):
    """Measured once for all data sets and for every later run; a rule has seconds and memory only. What a process of
    its own measures is `test_costs.py`'s; here it is made up."""
    monkeypatch.setattr(costs, "in_a_process", lambda *_, **__: {"seconds": 0.0123, "cpu": 0.01, "peak": 612.0})
    work.config |= {"costs": "64x48", "metrics": {"names": ["EN"]}}
    work.config["models"] = [{"name": "average"}, {"name": "swift"}]
    work.add("B", "one", picture(seed=1), picture(seed=2))
    work.config["datasets"].append({"name": "B", "root": "B"})
    printed = work.run()
    summary = work.summary()
    assert summary["costs"] == {"size": "64x48", "machine": costs.machine(torch.device("cpu"), torch.get_num_threads())}
    rows = [row["costs"] for dataset in summary["datasets"] for row in dataset["rows"]]
    assert rows[:2] == rows[2:]
    rule, learned = rows[:2]
    assert (rule["parameters"], rule["flops"], learned["parameters"]) == (None, None, 91_913)
    assert all(each["seconds"] > 0 and each["mebibytes"] > 0 for each in rows)

    head, *body = [line.split() for line in printed.splitlines() if line.startswith(("model", "average", "swift"))]
    assert head[-4:] == ["params", "GFLOPs", "s", "MiB"]
    assert body[0][-4:] == ["-", "-", f"{rule['seconds']:.3g}", f"{rule['mebibytes']:.0f}"]
    assert body[1][-4:-2] == ["91,913", f"{learned['flops'] / 1e9:.4g}"]
    where = f"params, GFLOPs, s and MiB: of a pair of 64x48 on {summary['costs']['machine']}."
    texts = [(work.folder / "out" / name).read_text(encoding="utf-8") for name in ("summary.md", "index.html")]
    assert all(where in text for text in (printed, *texts))
    assert "| 91,913 |" in texts[0]
    assert ">91,913</td>" in texts[1]
    latex = (work.folder / "out/summary.tex").read_text(encoding="utf-8")
    assert "& params & GFLOPs & s & MiB" in latex
    assert " & -- & -- & " in latex
    with (work.folder / "out/costs.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["dataset"], row["model"]) for row in table] == [(d, m) for d in "AB" for m in ("average", "swift")]
    assert table[1]["parameters"] == "91913"

    monkeypatch.setattr(program.costs, "of", lambda *_, **__: pytest.fail("measured again"))
    work.run()
    assert work.summary()["costs"] == summary["costs"]


def test_a_certificate_is_written(work):
    work.config |= {"metrics": {"names": ["EN"]}}
    weights.save(work.folder / "s.safetensors", program.build.network("sdnet"), name="sdnet")
    work.config["models"] = [{"name": "sdnet", "weights": "s.safetensors"}, {"name": "average"}]
    work.config["datasets"] = [{"name": "TNO", "root": "A"}]
    work.run("certificate=docs/rows.md")
    text = (work.folder / "docs/rows.md").read_text(encoding="utf-8")
    assert "    python test.py -opt x.yml certificate=docs/rows.md\n" in text
    assert "over 2 pairs." in text
    assert "The printed means are over 25 pairs: they need not agree." in text
    assert "| sdnet, ours | " in text
    assert "| printed | 6.64 " in text
    assert "| sdnet | s.safetensors | " in text


def test_costs_that_cannot_be_measured_are_left_out(monkeypatch):
    def fails(*_, **__):
        raise ValueError("64x48: no memory")

    monkeypatch.setattr(program.costs, "of", fails)
    model = program.ModelOptions(name="average")
    with pytest.warns(UserWarning, match="costs of average: 64x48: no memory"):
        assert program.cost(model, "", "64x48", torch.device("cpu")) == {}
    about = {"costs": {"size": "64x48", "machine": "x"}}
    assert report.costs_cells({"costs": {}}, about) == ["-"] * 4
    assert report.costs_cells({"costs": {}}, {}) == []


def test_the_best_value_is_marked_in_every_form(work):
    printed = work.run()
    means = {r["model"]: r["mean"] for r in work.summary()["datasets"][0]["rows"]}
    table = [line.split() for line in printed.splitlines() if line.startswith(("average", "maximum", "model"))]
    markdown = (work.folder / "out/summary.md").read_text(encoding="utf-8")
    shown_page = (work.folder / "out/index.html").read_text(encoding="utf-8")
    arrows = {True: "↑", False: "↓", None: ""}
    headings = [m.name + arrows[m.higher_is_better] for m in metrics.profile("cddfuse").values()]
    assert table[0][1:] == [*headings, "s/image"]
    assert "MSE" in LOWER_IS_BETTER
    for i, name in enumerate(METRICS, 1):
        best = (min if name in LOWER_IS_BETTER else max)((f"{means[m][name]:.2f}" for m in means), key=float)
        for line, model in zip(table[1:], means, strict=True):
            value = f"{means[model][name]:.2f}"
            assert line[i] == ("*" if value == best else "") + value
            if value == best:
                assert f"**{value}**" in markdown
                assert f"<b>{value}</b>" in shown_page
    assert "MSE↓" in markdown
    assert re.search(">MSE <i[^>]*>↓</i>", shown_page)


def test_equal_values_are_best_together_and_one_row_has_no_best():
    def dataset(*values):
        return {"rows": [{"model": "m", "mean": {"X": v}, "undefined": {}, "seconds": None} for v in values]}

    def best(direction, *values):
        rows = report.cells(dataset(*values), {"metrics": {"X": {"higher_is_better": direction}}})
        return [cells[0][1] for _, cells, _ in rows]

    assert best(True, 1.001, 1.002, 0.5) == [True, True, False]  # both print 1.00
    assert best(False, 9.0, 10.0, 100.0) == [True, False, False]  # as numbers, not as text
    assert best(False, -1.0, 1.0) == [True, False]
    assert best(None, 1.0, 2.0) == [False, False]
    assert best(True, 1.0) == [False]
    assert best(True, None, 2.0, 1.0) == [False, True, False]
    assert best(True, None, 2.0) == [False, False]


class Tags(html.parser.HTMLParser):
    """The tags of a page."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)


def shown(out: Path) -> list[str]:
    """The addresses of all pictures that the page of a result folder can show."""
    text = (out / "index.html").read_text(encoding="utf-8")
    data = json.loads(re.search('<script type="application/json" id="data">(.*)</script>', text)[1])
    found = []
    for dataset in data["datasets"]:
        for i, image in enumerate(dataset["images"]):
            for kind, file in zip(("ir", "vis"), dataset["sources"][i], strict=True):
                found.append(f"index_files/{dataset['name']}/{kind}/{file}")
            for model, scores in zip(dataset["models"], dataset["scores"], strict=True):
                found += [f"{dataset['name']}/{model}/{image}.png"] if scores[i] else []
    return found


def test_the_page_shows_every_picture(work):
    work.add("A", "50% #1? ü'", picture(), picture())
    work.run()
    addresses = shown(work.folder / "out")
    assert len(addresses) == 3 * (2 + 2)
    assert all((work.folder / "out" / address).is_file() for address in addresses)


def test_names_are_escaped_in_the_page(work):
    evil = "<script>alert(1)</script>"
    name = evil.replace("/", "&")  # of a file: no slash
    out = work.folder / "out"
    work.run()
    tags = Tags((out / "index.html").read_text(encoding="utf-8")).tags
    work.add("A", name, picture(), picture())
    work.config["models"][0]["label"] = "R&D 'x'"
    work.run()
    text = (out / "index.html").read_text(encoding="utf-8")
    assert Tags(text).tags.count("script") == tags.count("script")
    assert "R&amp;D &#x27;x&#x27;" in text
    assert name not in text

    # A label cannot hold < and >, but the page also shows folders that were made elsewhere.
    summary = json.loads((out / "summary.json").read_text())
    summary["datasets"][0]["rows"][0]["model"] = evil
    summary["datasets"][0]["name"] = summary["profile"] = evil
    summary["skipped"] = {evil: evil}
    (out / "summary.json").write_text(json.dumps(summary))
    page.write(out)
    text = (out / "index.html").read_text(encoding="utf-8")
    assert Tags(text).tags.count("script") == tags.count("script")
    assert html.escape(evil) in text
    assert evil not in text
    work.config["models"][0]["label"] = evil
    assert "names a folder of the results" in work.refuse()


def test_a_metric_that_small_pictures_cannot_have_gets_a_footnote(work):
    work.add("A", "tiny", picture(40, 60, seed=8), picture(40, 60, seed=9))
    printed = work.run()
    assert [r["VIF"] for r in work.rows() if r["image"] == "tiny"] == ["nan", "nan"]
    for row in work.summary()["datasets"][0]["rows"]:
        values = [float(r["VIF"]) for r in work.rows() if r["model"] == row["model"]]
        assert row["undefined"] == {"VIF": 1}
        assert row["mean"]["VIF"] == statistics.fmean(v for v in values if math.isfinite(v))
        assert row["images"] == 3
    note = "† A, average: VIF is undefined on 1 of 3 pictures, which its mean leaves out."
    for text in (
        printed,
        *((work.folder / "out" / f).read_text(encoding="utf-8") for f in ("summary.md", "index.html")),
    ):
        assert note in text
        assert re.search(r"\d\.\d\d(\*\*|<sup>)?†", text)


def test_a_metric_that_is_nowhere_defined_is_a_dash(work):
    work.config["datasets"] = [{"name": "T", "root": "T"}]
    work.add("T", "a", picture(20, 20), picture(20, 20))
    printed = work.run()
    assert [r["mean"]["VIF"] for r in work.summary()["datasets"][0]["rows"]] == [None, None]
    assert "-†" in printed


@pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")
def test_constant_pictures_make_tables_too(work):
    work.config["datasets"] = [{"name": "C", "root": "C"}]
    for name, level in (("black", 0), ("white", 255)):
        work.add("C", name, np.full((45, 45), level, np.uint8), np.full((45, 45), level, np.uint8))
    work.run()
    for row in work.summary()["datasets"][0]["rows"]:
        assert row["mean"]["EN"] == 0
        assert row["mean"]["PSNR"] is None  # without any error it is infinite
        assert row["undefined"]["PSNR"] == 2


def test_gray_output_medical_task_and_chosen_metrics(work):
    for name in ("p", "q"):
        images.write(work.folder / "M" / "PET" / f"{name}.png", picture(48, 56, 3))
        images.write(work.folder / "M" / "MRI" / f"{name}.png", picture(seed=7))
    work.config["datasets"] = [{"name": "M", "root": "M", "ir": "PET", "vis": "MRI", "task": "medical"}]
    work.config["metrics"] = {"names": ["SSIM", "EN"]}
    work.run()
    assert images.read(work.folder / "out/M/average/p.png").ndim == 3
    assert list(work.rows()[0]) == ["dataset", "model", "profile", "image", "SSIM", "EN"]
    work.run("output=gray", "out=gray")
    assert images.read(work.folder / "gray/M/average/p.png").ndim == 2


def test_models_for_some_data_sets_only(work):
    work.add("B", "b", picture(), picture())
    work.config["datasets"].append({"name": "B", "root": "B"})
    work.config["models"][1]["datasets"] = ["B"]
    work.run()
    assert [(r["dataset"], r["model"]) for r in work.rows()] == [("A", "average")] * 2 + [
        ("B", "average"),
        ("B", "maximum"),
    ]


# --- continuing -----------------------------------------------------------------------------------------------------


def snapshot(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*.png")}


def test_a_second_run_makes_nothing_again(work, fused):
    first = work.run()
    assert len(fused) == 4
    before, rows, summary = snapshot(work.folder), work.rows(), work.summary()
    assert work.run() == first
    assert len(fused) == 4
    assert snapshot(work.folder) == before
    assert (work.rows(), work.summary()) == (rows, summary)


def test_fresh_makes_everything_again(work, fused):
    work.run()
    work.run("--fresh")
    assert len(fused) == 8
    work.run()
    assert len(fused) == 8


def changed_source(work):
    images.write(work.folder / "A/vi/two.png", picture(50, 45, seed=99))


def touched_result(work):
    images.write(work.folder / "out/A/average/two.png", picture(50, 45, seed=99))


def missing_result(work):
    (work.folder / "out/A/maximum/one.png").unlink()


def another_output(work):
    work.config["output"] = "gray"


def another_metric(work):
    work.config["metrics"] = {"names": ["EN"]}


def another_label(work):
    work.config["models"][0]["label"] = "mean"


def another_folder(work):
    """The same names, sizes and times in another place: only the path tells them apart."""
    for kind in ("ir", "vi"):
        for path in (work.folder / "A" / kind).iterdir():
            twin = work.folder / "A2" / kind / path.name
            twin.parent.mkdir(parents=True, exist_ok=True)
            twin.write_bytes(path.read_bytes())
            os.utime(twin, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    work.config["datasets"][0]["root"] = "A2"


def another_task(work):
    work.config["datasets"][0]["task"] = "medical"


@pytest.mark.parametrize(
    ("change", "made"),
    [
        (changed_source, 2),
        (touched_result, 1),
        (missing_result, 1),
        (another_output, 4),
        (another_metric, 4),
        (another_label, 2),
        (another_folder, 4),
        (another_task, 4),
    ],
)
def test_what_changed_is_made_again_and_nothing_else(work, fused, change, made):
    work.run()
    fused.clear()
    change(work)
    work.run()
    assert len(fused) == made
    work.run()
    assert len(fused) == made
    expected = work.rows()
    work.run("--fresh")
    assert work.rows() == expected


def test_changed_options_and_weights_are_noticed(work, fused):
    def save(seed):
        torch.manual_seed(seed)
        weights.save(work.folder / "w.safetensors", CDDFuse(**SMALL), name="cddfuse", options=SMALL)

    save(0)
    learned = {"name": "cddfuse", "weights": "w.safetensors", "label": "learned"}
    work.config["models"] = [learned, {"name": "cpfusion", "options": {"levels": 3}}]
    work.run()
    assert len(fused) == 4
    save(1)
    work.run()
    assert len(fused) == 6
    work.config["models"][1]["options"] = {"levels": 2}
    work.run()
    assert len(fused) == 8
    work.config["models"][1]["options"] = {
        "merge": True,
        "levels": 2,
    }  # the default, stated: cannot know, makes it again
    work.run()
    assert len(fused) == 10
    work.config["models"].reverse()
    work.run()
    assert len(fused) == 10
    work.config["models"][1]["speed"] = "bf16"
    work.run()
    assert len(fused) == 12


def test_one_row_with_two_files_on_two_data_sets(work, fused):
    """Weights for infrared and for medical pairs share the row of their method; each change is noticed."""
    work.add("B", "b", picture(), picture())
    work.config["datasets"].append({"name": "B", "root": "B"})
    for i, name in enumerate("AB"):
        torch.manual_seed(i)
        weights.save(work.folder / f"{name}.safetensors", CDDFuse(**SMALL), name="cddfuse", options=SMALL)
    work.config["models"] = [{"name": "cddfuse", "weights": f"{n}.safetensors", "datasets": [n]} for n in "AB"]
    work.run()
    assert [s["model"] for d in work.summary()["datasets"] for s in d["rows"]] == ["cddfuse", "cddfuse"]
    fused.clear()
    torch.manual_seed(9)
    weights.save(work.folder / "A.safetensors", CDDFuse(**SMALL), name="cddfuse", options=SMALL)
    work.run()
    assert fused == [(48, 56), (50, 45)]


def test_stray_files_change_nothing(work, fused):
    expected = work.run()
    rows, summary = work.rows(), work.summary()
    for name in ("A/average/stray.png", "A/stranger/one.png", "Z/average/one.png", "notes.txt", "A/.x.1.part.png"):
        (work.folder / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (work.folder / "out" / name).write_bytes(b"stray")
    assert work.run() == expected
    assert len(fused) == 4
    assert (work.rows(), work.summary()) == (rows, summary)
    assert len(shown(work.folder / "out")) == 2 * (2 + 2)


@pytest.mark.parametrize("cut", [1, 20])
def test_a_cut_line_of_the_journal_costs_one_picture(work, fused, cut):
    work.run()
    rows = work.rows()
    journal = work.folder / "out/.progress.jsonl"
    journal.write_bytes(journal.read_bytes()[:-cut])
    work.run()
    made = len(fused) - 4
    assert made == (cut > 1)  # without its newline alone a line is whole
    assert work.rows() == rows
    work.run()
    assert len(fused) == 4 + made


@pytest.mark.parametrize(
    "line",
    [b"", b"3", b"[]", b"null", b"{}", b"\xff\xfe", b'{"picture": "A/average/one.png"}', b"{"],
)
def test_nonsense_in_the_journal_is_skipped(work, fused, line):
    work.run()
    rows = work.rows()
    with (work.folder / "out/.progress.jsonl").open("ab") as file:
        file.write(line + b"\n" + b'{"picture": ["A"]}\n')
    work.run()
    assert len(fused) - 4 == line.startswith(b'{"picture')  # it stands for a picture that it does not describe
    assert work.rows() == rows


@pytest.mark.parametrize("n", [1, 2, 4])
def test_interrupted_and_continued_gives_the_same_tables(work, fused, interrupt, n):
    interrupt(n)
    assert work.run(status=130) == ""
    assert work.error == "interrupted: finished pictures are kept, the same command continues\n"
    assert len(list((work.folder / "out").rglob("*.png"))) == n - 1
    assert not (work.folder / "out/metrics.csv").exists()
    interrupt(None)
    fused.clear()
    work.run()
    continued = work.rows(), [r["mean"] for r in work.summary()["datasets"][0]["rows"]]
    work.run("out=other")
    assert (work.rows("other"), [r["mean"] for r in work.summary("other")["datasets"][0]["rows"]]) == continued


def test_continuing_makes_only_what_is_missing(work, monkeypatch):
    made = []
    true = program.infer.fuse

    def fuse(*arguments, **options):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(1)
        return true(*arguments, **options)

    monkeypatch.setattr(program.infer, "fuse", fuse)
    work.run(status=130)
    made[:] = [1, 1]
    work.run()  # makes one, so the fuse above never stops it
    assert len(made) == 3


def test_interrupted_while_it_gets_ready(work, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(program.build, "comparison", stop)
    work.run(status=130)


# --- pairs that fail ------------------------------------------------------------------------------------------------


def test_one_bad_pair_does_not_stop_the_others(work):
    work.add("A", "three", picture(seed=5), picture(seed=6))
    whole = (work.folder / "A/ir/one.png").read_bytes()
    (work.folder / "A/ir/one.png").write_bytes(whole[:-30])
    work.add("A", "sizes", picture(48, 56), picture(48, 57))
    (work.folder / "A/ir/text.png").write_text("I am text")
    work.add("A", "text", None, picture())
    printed = work.run(status=1)
    failures = work.summary()["failures"]
    assert [(f["dataset"], f["image"], f["model"]) for f in failures] == [
        ("A", "one", "all models"),
        ("A", "sizes", "all models"),
        ("A", "text", "all models"),
    ]
    assert "is truncated" in failures[0]["error"]
    assert failures[1]["error"].startswith("ir is 48x56 but vis is 48x57 ")
    assert "(scripts/fuse.py --resize)" in failures[1]["error"]
    assert "A/ir/text.png cannot be decoded" in failures[2]["error"]
    assert [(r["image"], r["model"]) for r in work.rows()] == [
        (i, m) for i in ("three", "two") for m in ("average", "maximum")
    ]
    end = printed[printed.index("3 failed:") :].splitlines()
    assert [line.split(":")[0] for line in end[1:4]] == ["  A/one", "  A/sizes", "  A/text"]
    assert "A, average: means over 2 of 5 pairs." in printed
    for text in ((work.folder / "out" / f).read_text(encoding="utf-8") for f in ("summary.md", "index.html")):
        assert "A/one: all models: " in text


def test_a_mended_pair_is_done_in_the_next_run(work, fused):
    whole = (work.folder / "A/ir/one.png").read_bytes()
    (work.folder / "A/ir/one.png").write_bytes(whole[:-30])
    work.run(status=1)
    (work.folder / "A/ir/one.png").write_bytes(whole)
    work.run()
    assert len(fused) == 4
    assert len(work.rows()) == 4


def test_a_pair_too_small_for_one_model(work):
    work.config["models"].append({"name": "cpfusion"})
    work.add("A", "wide", picture(70, 70), picture(70, 70))
    work.run(status=1)
    failures = work.summary()["failures"]
    assert [(f["image"], f["model"]) for f in failures] == [("one", "cpfusion"), ("two", "cpfusion")]
    assert failures[0]["error"] == "the pair is 48x56: CPFusion needs at least 64x64 pixels"
    assert [r["images"] for r in work.summary()["datasets"][0]["rows"]] == [3, 3, 1]


def test_every_pair_bad(work):
    for path in (work.folder / "A/vi").iterdir():
        path.write_bytes(b"")
    printed = work.run(status=1)
    assert "2 failed:" in printed
    assert work.rows() == []
    assert {r["seconds"] for r in work.summary()["datasets"][0]["rows"]} == {None}


def test_a_file_without_a_partner_is_listed(work):
    work.add("A", "alone", picture(), None)
    printed = work.run(status=1)
    assert f"{Path('A/ir/alone.png')} has no visible partner" in printed
    assert len(work.rows()) == 4


def test_too_little_memory_for_one_pair(work, monkeypatch):
    true = program.infer.fuse

    def fuse(network, ir, vis, **options):
        if ir.shape[0] == 50:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 3 GiB")
        return true(network, ir, vis, **options)

    monkeypatch.setattr(program.infer, "fuse", fuse)
    work.run(status=1)
    assert {f["error"] for f in work.summary()["failures"]} == {"not enough memory for a pair of 50x45 on this device"}
    assert [r["image"] for r in work.rows()] == ["one", "one"]


# --- refusals before any work ---------------------------------------------------------------------------------------


def test_a_missing_data_set(work):
    work.config["datasets"].append({"name": "TNO", "root": "data/TNO"})
    message = work.refuse()
    assert message.startswith(f"x.yml: data set TNO: {Path('data/TNO/ir')} is not a folder (looked in {work.folder}")
    assert "README, Data sets, says where to get them" in message


def test_an_empty_folder(work):
    (work.folder / "E/ir").mkdir(parents=True)
    (work.folder / "E/vi").mkdir()
    work.config["datasets"] = [{"name": "E", "root": "E"}]
    assert work.refuse().startswith(f"x.yml: data set E: {Path('E/ir')} holds no pictures: expected png, ")


def test_a_missing_weight_file(work):
    work.config["models"].append({"name": "cddfuse", "weights": "models/no.pth"})
    assert work.refuse() == (
        f"x.yml: models[2]: weights of cddfuse: {Path('models/no.pth')} is not there "
        f"(looked in {work.folder / 'models'}); "
        "python scripts/get_data.py cddfuse fetches the authors'"
    )


def test_a_learned_model_without_weights_takes_the_shipped_ones(work, monkeypatch, tmp_path_factory):
    """Of the data set's task where there are such; others of the same name are noticed."""
    models = tmp_path_factory.mktemp("models")
    monkeypatch.setattr(places, "models", lambda: models)
    work.config["models"] = [{"name": "swift"}]
    assert work.refuse().startswith("x.yml: models[0]: no weights of swift come with this project: name their file")
    work.config["models"] = [{"name": "average"}, {"name": "swift", "optional": True}]
    assert "swift: no weights of swift come with this project" in work.run()
    work.config["models"] = [{"name": "swift"}]

    def save(task: str, seed: int):
        torch.manual_seed(seed)
        network = Swift()
        torch.nn.init.normal_(network.fine.last.weight)  # so that any two differ in 8 bits
        weights.save(models / f"swift_{task}.safetensors", network, name="swift")

    def pictures() -> list[bytes]:
        work.run()
        return [p.read_bytes() for p in sorted((work.folder / "out/A/swift").glob("*.png"))]

    save("msrs", 0)
    first = pictures()
    save("medical", 1)
    assert pictures() == first
    work.config["datasets"][0]["task"] = "medical"
    medical = pictures()
    assert all(a != b for a, b in zip(first, medical, strict=True))
    save("medical", 2)
    assert all(a != b for a, b in zip(medical, pictures(), strict=True))


def test_black_pictures_are_pointed_out_and_the_pairs_still_compared(work):
    work.add("A", "one", np.zeros((48, 56), np.uint8))
    text = work.run()
    assert "A: problem: black: one: " in text
    assert "A: hint: python scripts/check_pairs.py A --ir ir --vis vi" in text
    assert len(work.rows()) == 4


def test_an_optional_model_without_its_file_is_left_out_and_the_tables_say_so(work):
    for name in "AB":
        model = {"name": "ship", "weights": f"models/{name}.pth", "optional": True, "datasets": [name]}
        work.config["models"].append(model)
    work.add("B", "b", picture(), picture())
    work.config["datasets"].append({"name": "B", "root": "B"})
    printed = work.run()
    assert {r["model"] for r in work.rows()} == {"average", "maximum"}
    assert list(work.summary()["skipped"]) == ["ship on A", "ship on B"]
    for text in (
        printed,
        *((work.folder / "out" / f).read_text(encoding="utf-8") for f in ("summary.md", "index.html")),
    ):
        assert "Not run" in text
        assert f"ship on A: weights of ship: {Path('models/A.pth')} is not there" in text


def test_nothing_but_optional_models_without_their_files(work):
    work.config["models"] = [{"name": "ship", "weights": "no.pth", "optional": True}]
    assert work.refuse().startswith("x.yml: no model is left to run: weights of ship: no.pth is not there")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("models.0.name=avrage", "x.yml: models[0]: No network named 'avrage'. Known: "),
        ("models.0.options={levels: 3}", "x.yml: models[0]: network 'average' takes no option 'levels'."),
        (
            "models.0={name: cpfusion, options: {levls: 3}}",
            "x.yml: models[0]: network 'cpfusion' takes no option 'levls'",
        ),
        (
            "models.0={name: cpfusion, options: {levels: four}}",
            "x.yml: models[0]: network 'cpfusion': levels must be int; got 'four'",
        ),
        ("models.0={name: cpfusion, options: {levels: 0}}", "x.yml: models[0]: levels must be 1 to 10, got 0"),
        ("models.0.weights=x.yml", "x.yml: models[0]: average is rule-based and takes no weights, but got x.yml"),
        ("metrics.profile=cdfuse", "No metric profile named 'cdfuse'. Known: cddfuse"),
        ("metrics.names=[EN, ssim]", "No metric named 'ssim' in profile 'cddfuse'. Known: EN, SD, "),
        ("device=gpu", "device: 'gpu' cannot be used here ("),
        ("device=cuda:99", "device: 'cuda:99' cannot be used here ("),
        ("models.0.max_memory=lots", "x.yml: models[0]: max_memory must be bytes or like 3GiB, 500MB; got 'lots'"),
        ("models.0.max_memory=1GiB", "x.yml: models[0]: Average cannot bound its memory: leave max_memory out"),
        ("models.0.lable=x", "x.yml: models[0]: unknown key 'lable'. Did you mean 'label'?"),
        ("nonsense", "'nonsense' is no override: expected key.key=value"),
    ],
)
def test_mistakes_in_the_config(work, change, expected):
    assert work.refuse(change).startswith(expected)


def test_files_that_are_no_config(work, capsys):
    for text, expected in (
        ("out: a\n\tb: c", "line 2, column 1: a tab cannot indent YAML"),
        ("out: !!python/object/apply:os.mkdir [run]", "no code is run"),
        ("", "found nothing"),
    ):
        (work.folder / "y.yml").write_text(text)
        assert program.main(["-opt", "y.yml"]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: y.yml: ")
        assert expected in error
        assert error.count("\n") == 1
    assert not (work.folder / "run").exists()
    assert program.main(["-opt", "z.yml"]) == 2
    assert "z.yml is not there (looked in" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_that_do_not_fit(work, suffix):
    path = work.folder / f"w{suffix}"
    path.write_text("I am text,\nnot weights")
    work.config["models"].append({"name": "cddfuse", "weights": path.name})
    assert work.refuse().startswith(f"x.yml: models[2]: {path.name} cannot be read as ")


# --- places that cannot be written ----------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["file", "file/deep/out"])
def test_an_output_folder_that_cannot_be_made(work, out):
    (work.folder / "file").write_text("I am no folder")  # permissions would not stop root
    message = work.refuse(f"out={out}")
    assert message.startswith(f"out: cannot write in {Path(out)}: ")
    assert message.endswith("; choose a folder with out=FOLDER")


def fill_disk(monkeypatch, owner, method: str, ending: str, writes: int = 0):
    """`owner.method` writes half of what it should and fails, for paths with `ending`, after `writes` good ones."""
    true = getattr(owner, method)
    left = [writes]

    def write(path, data, *arguments, **options):
        if not path.name.endswith(ending):
            return true(path, data, *arguments, **options)
        if left[0] > 0:
            left[0] -= 1
            return true(path, data, *arguments, **options)
        true(path, data[: len(data) // 2], *arguments, **options)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(owner, method, write)


def test_a_full_disk_leaves_no_half_written_picture(work, monkeypatch, fused):
    with monkeypatch.context() as patch:
        fill_disk(patch, Path, "write_bytes", ".png", writes=2)
        work.run(status=2)
    assert work.error == (
        f"error: cannot write {Path('out/A/average/two.png')}: No space left on device; "
        "finished pictures are kept, the same command continues\n"
    )
    left = [p for p in (work.folder / "out").rglob("*") if p.is_file()]
    assert sorted(p.name for p in left) == [".progress.jsonl", "one.png", "one.png"]
    for path in left:
        assert path.suffix != ".png" or images.read(path).shape[:2] == (48, 56)
    fused.clear()
    work.run()
    assert len(fused) == 2
    assert len(work.rows()) == 4


@pytest.mark.parametrize("ending", ["summary.part.json", "summary.md.part", "summary.tex.part", "index.html.part"])
def test_a_full_disk_at_the_tables(work, monkeypatch, ending):
    ending = ending.replace("summary.part.json", f"summary.{os.getpid()}.part.json")
    work.run()
    before = {p.name: p.read_bytes() for p in (work.folder / "out").iterdir() if p.is_file()}
    work.add("A", "three", picture(), picture())
    with monkeypatch.context() as patch:
        fill_disk(patch, Path, "write_bytes" if ending == "index.html.part" else "write_text", ending)
        work.run(status=2)
    assert "No space left on device; finished pictures are kept" in work.error
    after = {p.name: p.read_bytes() for p in (work.folder / "out").iterdir() if p.is_file()}
    assert after.keys() == before.keys()
    written = next(name for name in FILES if name in ending.replace(f".{os.getpid()}.part", ""))
    assert after[written] == before[written]
    work.run()
    assert len(work.rows()) == 6


# --- the command line -----------------------------------------------------------------------------------------------


def test_as_a_program(work):
    """On a terminal that has no arrows, and from a folder that is not the project's."""
    work.run()
    done = subprocess.run(
        [sys.executable, "-B", ROOT / "test.py", "-opt", "x.yml", "out=new"],
        cwd=work.folder,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "SSIM?" in done.stdout
    refused = run(work.folder, ROOT / "test.py", "-opt", "x.yml", "models.0.name=avrage")
    assert (refused.status, refused.err.count("\n"), refused.out) == (2, 1, "")


def test_overrides_may_stand_before_and_behind_options(work):
    work.run("out=first", "--fresh", "models.1.label=most")
    assert {r["model"] for r in work.rows("first")} == {"average", "most"}


def test_an_unknown_option_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as caught:
        program.main(["--frehs"])
    assert caught.value.code == 2
    assert "--frehs" in capsys.readouterr().err


def test_the_default_config_is_compare_yml():
    assert program.parse([]).opt == "configs/compare.yml"
    assert (ROOT / "configs/compare.yml").is_file()
