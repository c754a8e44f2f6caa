"""Folders of pairs: shared by processes, killed and started again, read ahead and written behind."""

import collections
import json
import threading
import time

import numpy as np
import pytest

import fusion
from fusion import images
from fusion.bulk.folder_run import RECORD, TOGETHER, FolderRun, Turns
from fusion.bulk.record import Record, WriteError
from fusion.bulk.share import Share
from fusion.pairing import pair_folders
from tests.processes import kill_one_of, several
from tests.processes import run as start

N = 24


@pytest.fixture
def pairs(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(N):
        for kind in ("ir", "vi"):
            images.write(tmp_path / kind / f"{i}.png", rng.integers(0, 256, (24, 30), np.uint8))
    return pair_folders(tmp_path / "ir", tmp_path / "vi").pairs


class Mean:
    """Stands in for a Fuser: notes what it was given, and how many pictures were there by then."""

    def __init__(self, out):
        self.out, self.calls, self.span, self.behind = out, 0, None, 0

    def __call__(self, ir, vis):
        self.calls += 1
        self.behind = max(self.behind, self.calls - len(list(self.out.glob("[0-9]*.png"))))
        if (ir == 7).all():
            raise ValueError("a bad pair")
        return ((ir.astype(int) + vis) // 2).astype(np.uint8)


def run(out, pairs, method="m", at_once=1):
    fuser, done = Mean(out), []
    record = Record(out / RECORD, out)
    count = FolderRun(fuser, out, record, method, ("full", "full"), at_once)(pairs, lambda: done.append(1))
    assert len(done) == len(pairs) == count.made + count.kept + len(count.failed)
    return fuser, count


def lines(out):
    return [json.loads(line)["picture"] for line in (out / RECORD).read_text().splitlines() if line]


def test_every_picture_is_made_once(pairs, tmp_path):
    fuser, count = run(tmp_path / "out", pairs)
    assert (count.made, count.kept, fuser.calls) == (N, 0, N)
    for pair in pairs:
        expected = (images.read(pair.ir).astype(int) + images.read(pair.vis)) // 2
        assert np.array_equal(images.read(tmp_path / "out" / f"{pair.name}.png"), expected)
    assert sorted(lines(tmp_path / "out")) == sorted(f"{pair.name}.png" for pair in pairs)
    assert fuser.behind <= 10  # what waits to be written does not pile up

    again, count = run(tmp_path / "out", pairs)
    assert (count.made, count.kept, again.calls) == (0, N, 0)
    (tmp_path / "out" / "3.png").unlink()
    again, count = run(tmp_path / "out", pairs)
    assert (count.made, count.kept, again.calls) == (1, N - 1, 1)
    again, count = run(tmp_path / "out", pairs, method="other")
    assert count.made == N


def test_a_bad_pair_does_not_stop_the_others(pairs, tmp_path):
    images.write(pairs[4].ir, np.full((24, 30), 7, np.uint8))
    pairs[9].vis.write_bytes(b"no picture")
    _, count = run(tmp_path / "out", pairs)
    assert count.made == N - 2
    assert [line.split(":")[1].strip() for line in count.failed] == [pairs[4].name, pairs[9].name]


def test_a_full_disk_stops_the_run(pairs, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(images, "write", full)
    with pytest.raises(WriteError, match="No space left"):
        run(tmp_path / "out", pairs)


def test_pictures_are_read_before_their_turn(pairs, tmp_path, monkeypatch):
    """While the first pair is being fused, threads have read the next two; nothing is read twice."""
    read, seen, true = threading.Semaphore(0), [], images.read

    def counted(path, *rest):
        seen.append(path)
        read.release()
        return true(path, *rest)

    class Waits(Mean):
        def __call__(self, ir, vis):
            if self.calls == 0:
                for _ in range(2 * 3):
                    assert read.acquire(timeout=60)
            return super().__call__(ir, vis)

    monkeypatch.setattr(images, "read", counted)
    out = tmp_path / "out"
    FolderRun(Waits(out), out, Record(out / RECORD, out), "m", ("full", "full"))(pairs, lambda: None)
    assert collections.Counter(seen).most_common(1)[0][1] == 1


def test_two_pairs_are_fused_at_the_same_time(pairs, tmp_path):
    """Each call waits for another one to begin."""
    together = threading.Barrier(2)

    class Waits(Mean):
        def __call__(self, ir, vis):
            together.wait(timeout=60)
            return super().__call__(ir, vis)

    out = tmp_path / "out"
    count = FolderRun(Waits(out), out, Record(out / RECORD, out), "m", ("full", "full"), 2)(pairs, lambda: None)
    assert count.made == N
    assert pictures(out).keys() == {f"{i}.png" for i in range(N)}


@pytest.mark.parametrize(("name", "beside"), [("average", True), ("lp", True), ("swift", True), ("ship", False)])
def test_large_networks_with_a_form_of_their_own_use_all_cores_themselves(name, beside):
    assert fusion.load(name).form().beside == beside


def test_a_bound_on_the_memory_of_a_pair_is_one_on_the_memory_of_a_run():
    assert not fusion.load("swift", max_memory="1GiB").form().beside


def test_turns_are_by_number_and_pixels():
    turns, order, inside, most = Turns(3), [], [0], [0]
    lock = threading.Lock()

    def take(number, pixels):
        with turns.turn(number, pixels):
            with lock:
                order.append(number)
                inside[0] += pixels
                most[0] = max(most[0], inside[0])
            time.sleep(0.005)
            with lock:
                inside[0] -= pixels

    sizes = [TOGETHER // 2, TOGETHER // 2, TOGETHER // 4, 3 * TOGETHER, TOGETHER // 2, TOGETHER // 4, TOGETHER // 4]
    threads = [threading.Thread(target=take, args=(i, size)) for i, size in reversed(list(enumerate(sizes)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert order == list(range(len(sizes)))
    assert most[0] == 3 * TOGETHER  # alone; beside each other never more than TOGETHER
    assert inside[0] == 0


def test_whatever_goes_wrong_ends_the_run(pairs, tmp_path, monkeypatch):
    """No thread waits for the turn of one that failed in a way nobody thought of."""

    def broken(path, *_):
        if path.stem == "5":
            raise RuntimeError("unheard of")
        return np.zeros((24, 30), np.uint8)

    monkeypatch.setattr(images, "read", broken)
    with pytest.raises(RuntimeError, match="unheard of"):
        run(tmp_path / "out", pairs, at_once=3)


def test_shares_are_disjoint_and_complete():
    parts = [Share(rank, 3).of(list(range(10))) for rank in range(3)]
    assert sorted(thing for part in parts for thing in part) == list(range(10))
    assert Share().of([1, 2]) == [1, 2]
    assert Share().gather("x") == ["x"]
    assert Share(1, 3).device("cpu") == "cpu"


# --- as a program ---------------------------------------------------------------------------------------------------


def fuse(root, folder, out):
    """What to start."""
    return folder, root / "scripts/fuse.py", "ir", "vi", "-o", out, "--model", "lp"


def pictures(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


@pytest.mark.parametrize("processes", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_several_processes_make_what_one_makes(pairs, tmp_path, root, processes):
    assert start(*fuse(root, tmp_path, "one")).out == f"{N} fused, 0 were there, 0 failed: one\n"
    first, *others = [each.wait().out for each in several(processes, *fuse(root, tmp_path, "several"))]
    assert first == f"{N} fused, 0 were there, 0 failed: several\n"
    assert set(others) == {""}
    assert pictures(tmp_path / "one") == pictures(tmp_path / "several")
    assert len(pictures(tmp_path / "one")) == N
    assert sorted(lines(tmp_path / "several")) == sorted(lines(tmp_path / "one"))


@pytest.mark.parametrize("moment", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 1, 10, 20))])
def test_a_killed_run_is_finished_by_the_next(pairs, tmp_path, root, moment):
    """kill -9 of one of two processes once so many pictures are there: nothing twice, nothing missing."""
    record = tmp_path / "out" / RECORD
    kill_one_of(
        several(2, *fuse(root, tmp_path, "out")), lambda: record.exists() and len(lines(record.parent)) >= moment
    )
    before = collections.Counter(lines(tmp_path / "out"))
    finished = start(*fuse(root, tmp_path, "out"))
    assert finished.out.startswith(f"{N - len(before)} fused, {len(before)} were there, 0 failed")
    after = collections.Counter(lines(tmp_path / "out"))
    assert sorted(after) == sorted(f"{i}.png" for i in range(N))
    assert set(after.values()) == {1}
