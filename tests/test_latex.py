"""summary.tex: ranks, ties, footnotes and names that LaTeX would trip over."""

import json
import re
import shutil
import subprocess

import pytest

from fusion import latex


def row(model, images=4, rank=None, undefined=None, **means):
    return {"model": model, "images": images, "rank": rank, "undefined": undefined or {}, "mean": means}


def summary(*rows, pairs=4, name="TNO"):
    metrics = {"EN": {"higher_is_better": True}, "MSE": {"higher_is_better": False}, "X": {"higher_is_better": None}}
    return {"profile": "cddfuse", "metrics": metrics, "datasets": [{"name": name, "pairs": pairs, "rows": list(rows)}]}


def written(tmp_path, data):
    (tmp_path / "summary.json").write_text(json.dumps(data), encoding="utf-8")
    latex.write(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"summary.json", "summary.tex"}
    return (tmp_path / "summary.tex").read_text(encoding="utf-8")


def cells(text, model):
    line = next(line for line in text.splitlines() if line.startswith(f"{model} &"))
    return line.removesuffix(" \\\\").split(" & ")[1:]


def test_best_is_bold_and_second_underlined_in_each_direction(tmp_path):
    text = written(
        tmp_path,
        summary(
            row("a", rank=1.0, EN=7.1, MSE=30.0, X=1.0),
            row("b", rank=2.0, EN=6.0, MSE=10.0, X=2.0),
            row("c", EN=6.5, MSE=20.0, X=3.0),
        ),
    )
    assert cells(text, "a") == ["\\textbf{7.10}", "30.00", "1.00", "\\textbf{1.00}"]
    assert cells(text, "b") == ["6.00", "\\textbf{10.00}", "2.00", "\\underline{2.00}"]
    assert cells(text, "c") == ["\\underline{6.50}", "\\underline{20.00}", "3.00", "--"]
    assert "EN$\\uparrow$ & MSE$\\downarrow$ & X & rank$\\downarrow$" in text
    assert text.count("\\toprule") == text.count("\\midrule") == text.count("\\bottomrule") == 1


def test_values_that_print_alike_share_a_place(tmp_path):
    data = summary(row("a", EN=7.101, MSE=1.0, X=0), row("b", EN=7.099, MSE=2.0, X=0), row("c", EN=1.0, MSE=None, X=0))
    text = written(tmp_path, data)
    assert [cells(text, m)[0] for m in "abc"] == ["\\textbf{7.10}", "\\textbf{7.10}", "\\underline{1.00}"]
    assert cells(text, "c")[1] == "--"


def test_a_single_row_is_neither_best_nor_second(tmp_path):
    assert cells(written(tmp_path, summary(row("a", EN=7.1, MSE=30.0, X=1.0))), "a")[:2] == ["7.10", "30.00"]


def test_means_over_less_than_all_pairs_are_said_to_be(tmp_path):
    data = summary(row("a", images=3, EN=7.1, MSE=1.0, X=0), row("b", EN=7.0, MSE=2.0, X=0, undefined={"EN": 2}))
    text = written(tmp_path, data)
    assert "a: 3 pairs only." in text
    assert "$^\\dagger$ EN of b is undefined on 2 of them." in text
    assert cells(text, "b")[0] == "\\underline{7.00}$^\\dagger$"


NASTY = "a_b & 50% #1 {x} $y$ ~ ^ \\z"


def test_special_characters_are_escaped(tmp_path):
    text = written(tmp_path, summary(row(NASTY, EN=1.0, MSE=1.0, X=1.0), name=NASTY))
    escaped = "a\\_b \\& 50\\% \\#1 \\{x\\} \\$y\\$ \\textasciitilde{} \\textasciicircum{} \\textbackslash{}z"
    assert text.count(escaped) == 2
    assert not re.search(r"(?<!\\)[#]", text)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
def test_latex_takes_it(tmp_path):
    data = summary(row(NASTY, EN=1.0, MSE=1.0, X=1.0, rank=1.0), row("b", EN=2.0, MSE=None, X=1.0), name=NASTY)
    table = written(tmp_path, data)
    document = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}{table}\\end{{document}}"
    (tmp_path / "x.tex").write_text(document)
    subprocess.run(["pdflatex", "-halt-on-error", "x.tex"], cwd=tmp_path, check=True, capture_output=True)
