"""Scores picture by picture in a file: shared by processes, continued after a crash, merged into one table."""

import collections
import json
import os
from pathlib import Path

import numpy as np
import pytest
from chromium import load_script

from fusion import images
from fusion.metrics import scoring
from fusion.metrics.rows import merged
from tests.processes import kill_one_of, run, several

N = 9


@pytest.fixture
def folder(tmp_path):
    for i in range(N):
        rng = np.random.default_rng(i)
        for side in ("ir", "vi", "fused"):
            images.write(tmp_path / side / f"p{i}.png", rng.integers(0, 256, (40, 44), np.uint8))
    return tmp_path


@pytest.fixture
def score(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)

    def run(*arguments, status=0, folders=True):
        given = ["--ir", "ir", "--vis", "vi", "--fused", "fused"] if folders else []
        assert load_script("score").main([*given, *arguments]) == status
        text = capsys.readouterr()
        run.error = text.err
        return text.out

    return run


def rows(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_rows_are_what_the_table_is_made_of(folder, score):
    table = score("--metrics", "EN,SSIM", "--rows", "a.jsonl", "--csv", "a.csv")
    *found, last = rows("a.jsonl")
    assert last == {"pairs": N}
    assert [row["image"] for row in found] == [f"p{i}" for i in range(N)]
    mean = np.mean([row["scores"]["cddfuse/EN"] for row in found])
    assert f"EN↑  {mean:.4f}" in table.replace("EN↑    ", "EN↑  ")
    for file in ("a.jsonl", "a.csv"):
        again = score("--merge", file, folders=False)
        assert again.splitlines()[1:] == table.splitlines()[1:]
        assert again.startswith(f"{N} of {N} pictures in {file}\n")


def test_what_is_there_is_not_scored_again(folder, score, monkeypatch):
    calls, true = [], scoring.score
    monkeypatch.setattr(scoring, "score", lambda triple, keys: calls.append(triple.name) or true(triple, keys))
    first = score("--metrics", "EN,SD", "--rows", "a.jsonl")
    whole = Path("a.jsonl").read_bytes()
    assert len(calls) == N
    assert score("--metrics", "EN,SD", "--rows", "a.jsonl") == first
    assert len(calls) == N
    assert Path("a.jsonl").read_bytes() == whole
    Path("a.jsonl").write_bytes(whole[: len(whole) // 2])
    assert score("--metrics", "EN,SD", "--rows", "a.jsonl") == first
    assert N < len(calls) < 2 * N
    assert Path("a.jsonl").read_bytes() == whole
    images.write(folder / "fused/p3.png", np.zeros((40, 44), np.uint8))
    calls.clear()
    assert score("--metrics", "EN,SD", "--rows", "a.jsonl") != first
    score("--metrics", "EN,AG", "--rows", "a.jsonl")  # other metrics: all of them again
    assert calls == ["p3", *(f"p{i}" for i in range(N))]


def test_parts_merge_into_the_table_of_the_whole(folder, score):
    table = score("--metrics", "EN,SSIM", "--csv", "whole.csv").splitlines()
    for part, numbers in (("one", range(4)), ("two", range(4, N))):
        for side in ("ir", "vi", "fused"):
            for i in numbers:
                target = folder / part / side / f"p{i}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(folder / side / f"p{i}.png", target)
        given = [f"--{o}={part}/{side}" for o, side in (("ir", "ir"), ("vis", "vi"), ("fused", "fused"))]
        score(*given, "--metrics", "EN,SSIM", "--rows", f"{part}.jsonl", "--csv", f"{part}.csv", folders=False)
    for one, two in (("one.jsonl", "two.jsonl"), ("two.csv", "one.jsonl"), ("one.csv", "two.csv")):
        assert score("--merge", one, two, "--csv", "merged.csv", folders=False).splitlines()[1:] == table[1:]
        assert Path("merged.csv").read_bytes() == Path("whole.csv").read_bytes()
    assert score("--merge", "one.jsonl", "one.csv", folders=False).startswith("4 of 4 pictures")  # the same twice


def test_what_is_missing_stays_missing(folder, score):
    (folder / "fused/p2.png").unlink()
    (folder / "fused/p5.png").write_bytes(b"no picture")
    assert score("--metrics", "EN", "--rows", "a.jsonl", status=1) == ""
    assert score("--merge", "a.jsonl", status=1, folders=False) == ""
    assert "error: p2: no result in fused\n" in score.error
    assert "error: p5: " in score.error
    assert f"2 of {N} results are missing: no means" in score.error
    assert score("--merge", "a.jsonl", "--partial", status=1, folders=False).startswith(f"{N - 2} of {N} pictures")
    images.write(folder / "fused/p5.png", np.full((40, 44), 9, np.uint8))
    score("--metrics", "EN", "--rows", "a.jsonl", status=1)
    _, results = merged([Path("a.jsonl")])
    assert [r.name for r in results if r.error] == ["p2"]


def refused(score, *files, folders=False):
    score("--merge", *files, status=2, folders=folders)
    assert score.error.startswith("error: ")
    assert score.error.count("\n") == 1
    return score.error


def test_what_makes_no_table_is_refused(folder, score):
    score("--metrics", "EN", "--rows", "a.jsonl")
    score("--metrics", "EN,SD", "--rows", "b.jsonl")
    text = refused(score, "a.jsonl", "b.jsonl")
    assert "different metrics make no table: cddfuse/EN (a.jsonl) and cddfuse/EN, cddfuse/SD (b.jsonl)" in text
    score("--metrics", "EN", "--range", "percentile", "--rows", "c.jsonl")
    assert "rows of different ranges" in refused(score, "a.jsonl", "c.jsonl")
    text = Path("a.jsonl").read_text()
    Path("d.jsonl").write_text(text.replace('"cddfuse/EN": ', '"cddfuse/EN": 1'))
    assert "a.jsonl and d.jsonl have different scores of p0: leave one out" in refused(score, "a.jsonl", "d.jsonl")
    Path("e.jsonl").write_text(text[: text.index('{"pairs"')])
    assert "e.jsonl is of a run that did not end: the same command continues it" in refused(score, "e.jsonl")
    Path("f.jsonl").write_text(text[:-3])
    assert "f.jsonl is of a run that did not end" in refused(score, "f.jsonl")
    Path("g.csv").write_text("image,cddfuse/EN\np0,1.0\np1,\n")
    assert "g.csv: a row is cut" in refused(score, "g.csv")
    Path("h.jsonl").write_text(text.replace("cddfuse/EN", "mine/EN"))
    assert "h.jsonl holds mine/EN: expected rows of scripts/score.py" in refused(score, "h.jsonl")
    Path("i.jsonl").write_text('{"picture": "a.png", "key": "k", "stamp": null, "span": null}\n')
    assert "i.jsonl holds nothing" in refused(score, "i.jsonl")
    assert "No such file" in refused(score, "nowhere.jsonl")


# --- several processes ----------------------------------------------------------------------------------------------


@pytest.fixture
def scored(root, folder):
    """What to start: rows and table are NAME.jsonl and NAME.csv."""

    def program(name):
        files = ["--rows", f"{name}.jsonl", "--csv", f"{name}.csv", "--metrics", "EN,SSIM,VIF"]
        return folder, root / "scripts/score.py", "--ir", "ir", "--vis", "vi", "--fused", "fused", *files

    return program


def table_of(program):
    assert program.status == 0, program.err
    return program.out


@pytest.mark.parametrize("processes", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_several_processes_find_what_one_finds(folder, scored, processes):
    table = table_of(run(*scored("one")))
    first, *others = [table_of(each.wait()) for each in several(processes, *scored("several"))]
    assert first == table
    assert set(others) == {""}
    for suffix in ("jsonl", "csv"):
        assert (folder / f"several.{suffix}").read_bytes() == (folder / f"one.{suffix}").read_bytes()


@pytest.mark.parametrize("moment", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 1, 4, 7))])
def test_a_killed_run_is_finished_by_the_next(folder, scored, moment):
    """kill -9 of one of two processes once so many rows are there: nothing twice, nothing missing."""
    path = folder / "killed.jsonl"
    kill_one_of(several(2, *scored("killed")), lambda: path.exists() and len(path.read_bytes().splitlines()) >= moment)
    before = collections.Counter(row.get("image") for row in rows(path)) if path.exists() else {}
    assert set(before.values()) <= {1}
    table = table_of(run(*scored("killed")))
    assert table == table_of(run(*scored("one")))
    assert path.read_bytes() == (folder / "one.jsonl").read_bytes()
