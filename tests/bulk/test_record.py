"""The record of finished pictures: what is believed of it, and what a crash may do to it."""

import json

import numpy as np
import pytest

from fusion import images
from fusion.bulk.record import Record, WriteError


@pytest.fixture
def out(tmp_path):
    for name in ("a.png", "b/c.png", "ä\udcff.png"):
        images.write(tmp_path / name, np.zeros((2, 3), np.uint8))
    return tmp_path


def test_what_was_added_is_found_by_the_next(out):
    record = Record(out / ".r", out)
    for n, name in enumerate(("a.png", "b/c.png", "ä\udcff.png")):
        assert out / name not in record
        record.add(out / name, f"key {n}", scores={"EN": n})
    again = Record(out / ".r", out)
    assert again.find(out / "b/c.png", "key 1")["scores"] == {"EN": 1}
    assert again.find(out / "ä\udcff.png", "key 2")["scores"] == {"EN": 2}
    assert out / "a.png" in again
    assert again.find(out / "a.png", "another key") is None
    images.write(out / "a.png", np.ones((2, 3), np.uint8))
    assert again.find(out / "a.png", "key 0") is None  # touched since
    (out / "b/c.png").unlink()
    assert again.find(out / "b/c.png", "key 1") is None
    assert out / "a.png" not in Record(out / ".r", out, fresh=True)


def test_the_last_line_of_a_picture_counts(out):
    record = Record(out / ".r", out)
    for key in ("old", "between", "new"):
        record.add(out / "a.png", key)
        record.add(out / "b/c.png", key)
    again = Record(out / ".r", out)
    assert again.find(out / "a.png", "new")
    assert again.find(out / "a.png", "old") is None


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_cut_line_costs_its_picture_alone(out, cut):
    record = Record(out / ".r", out)
    record.add(out / "a.png", "k")
    record.add(out / "b/c.png", "k")
    (out / ".r").write_bytes((out / ".r").read_bytes()[:-cut])
    again = Record(out / ".r", out)
    assert again.find(out / "a.png", "k")
    assert (again.find(out / "b/c.png", "k") is None) == (cut > 1)  # without its newline alone a line is whole
    again.add(out / "b/c.png", "k")  # begins a line of its own
    last = Record(out / ".r", out)
    assert last.find(out / "a.png", "k")
    assert last.find(out / "b/c.png", "k")


@pytest.mark.parametrize("line", [b"", b"3", b"[]", b"null", b"{}", b"\xff\xfe", b"{", b'{"picture": 3}'])
def test_nonsense_is_skipped(out, line):
    record = Record(out / ".r", out)
    record.add(out / "a.png", "k")
    with (out / ".r").open("ab") as file:
        file.write(line + b"\n")
    record.add(out / "b/c.png", "k")
    again = Record(out / ".r", out)
    assert again.find(out / "a.png", "k")
    assert again.find(out / "b/c.png", "k")


def test_a_refusing_disk_is_said(out):
    with pytest.raises(WriteError, match=r"cannot write .*a.png/.r"):
        Record(out / "a.png/.r", out)


def test_lines_of_several_processes_are_whole(out):
    """Two records of one file, as two processes have them, add in turns."""
    one, two = Record(out / ".r", out), Record(out / ".r", out)
    for n in range(50):
        (one if n % 2 else two).add(out / "a.png", f"{n}" * 300)
    assert [json.loads(line)["key"][:2] for line in (out / ".r").read_text().splitlines()][-1] == "49"
    assert len((out / ".r").read_text().splitlines()) == 50
