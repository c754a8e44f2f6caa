"""scripts/fuse.py: pairs, folders and videos give the picture of the library, continue, and fail in one line."""

from __future__ import annotations

import errno
import importlib.util
import io
import os
import re
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import fusion
from fusion import images, infer, places, videos, weights
from fusion.networks import SHIP, CDDFuse, Swift
from fusion.networks.base import Convention, Network
from fusion.registry import NETWORKS
from tests import processes

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "fuse.py"
SAMPLE = ROOT / "test_img" / "sample"
SMALL = {"dim": 8, "heads": 2, "blocks": 1}


def load_program():
    spec = importlib.util.spec_from_file_location("fuse_program", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


program = load_program()


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """The program in `tmp_path`, with the rule-based average unless told otherwise; returns what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "models", lambda: tmp_path / "models")  # not this project's

    def start(*arguments, status=0, model="average") -> str:
        chosen = ("--model", model) if model else ()
        got = program.main([*map(str, arguments), *chosen])
        text = capsys.readouterr()
        errors = [line for line in text.err.splitlines() if not line.startswith("note: ")]
        assert got == status, text
        assert len(errors) >= (status != 0), text
        start.errors, start.notes = errors, [line for line in text.err.splitlines() if line.startswith("note: ")]
        return text.out

    return start


def noise(*shape, seed=0, dtype=np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.fixture
def folders(tmp_path) -> Path:
    """Three pairs in ir/ and vi/."""
    for i, name in enumerate(("a", "b", "c")):
        images.write(tmp_path / "ir" / f"{name}.png", noise(40, 48, seed=i))
        images.write(tmp_path / "vi" / f"{name}.png", noise(40, 48, 3, seed=10 + i))
    return tmp_path


def stamps(folder: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in folder.glob("*.png")}


# --- one pair -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["colour", "gray"])
def test_a_pair_is_the_librarys_picture(run, tmp_path, output):
    ir, vis = (SAMPLE / kind / "01_street_day.png" for kind in ("ir", "vi"))
    run(ir, vis, "-o", "out/fused.png", "--output", output)
    expected = fusion.fuse(fusion.load("average"), ir, vis, output=output)
    np.testing.assert_array_equal(images.read(tmp_path / "out/fused.png"), expected)
    assert expected.ndim == (3 if output == "colour" else 2)


def test_a_folder_as_the_place_of_a_picture(run, folders):
    (folders / "there").mkdir()
    run("ir/a.png", "vi/a.png", "-o", "there")
    assert (folders / "there/a.png").is_file()


def test_a_weight_file_knows_its_network_and_options(run, folders):
    torch.manual_seed(0)
    weights.save("w.safetensors", CDDFuse(**SMALL), name="cddfuse", options=SMALL)
    run("ir/a.png", "vi/a.png", "-o", "fused.png", "--weights", "w.safetensors", model=None)
    network = fusion.load("cddfuse", "w.safetensors")
    np.testing.assert_array_equal(images.read("fused.png"), fusion.fuse(network, "ir/a.png", "vi/a.png"))
    run("ir/a.png", "vi/a.png", "-o", "x.png", "--weights", "w.safetensors", model="ship", status=2)
    assert run.errors == ["error: w.safetensors holds weights of cddfuse, not of ship"]


def test_speed_and_memory_are_the_librarys(run, folders):
    torch.manual_seed(0)
    weights.save("w.safetensors", CDDFuse(**SMALL), name="cddfuse", options=SMALL)
    run("ir/a.png", "vi/a.png", "-o", "fused.png", "--weights", "w.safetensors", "--speed", "bf16", model=None)
    network = fusion.load("cddfuse", "w.safetensors", speed="bf16", device="auto")  # as the program has it
    np.testing.assert_array_equal(images.read("fused.png"), fusion.fuse(network, "ir/a.png", "vi/a.png"))
    arguments = ("ir/a.png", "vi/a.png", "-o", "x.png", "--weights", "w.safetensors", "--max-memory")
    run(*arguments, "1kB", model=None, status=1)
    assert "needs at least" in run.errors[0]
    run(*arguments, "lots", model=None, status=2)
    assert run.errors == ["error: max_memory must be bytes or like 3GiB, 500MB; got 'lots'"]


def test_tiles_are_told(run, tmp_path):
    torch.manual_seed(0)
    options = {"channels": 4, "interactions": 1}
    weights.save("w.safetensors", SHIP(**options), name="ship", options=options)
    for kind in ("ir", "vi"):
        cv2.imwrite(f"{kind}.png", np.random.default_rng(0).integers(0, 256, (260, 300), np.uint8))
    bound = 12 * 260 * 300 + SHIP(**options).fuse_for_inference().compute.memory(256, 256)
    run("ir.png", "vi.png", "-o", "x.png", "--weights", "w.safetensors", "--max-memory", bound, model=None)
    assert re.fullmatch(r"note: 260x300 in 4 tiles .* differ by \d+\.\d\d gray levels on average", run.notes[-1])


def test_swift_is_the_default(run, folders):
    torch.manual_seed(0)
    weights.save("models/swift_msrs.safetensors", Swift(), name="swift", options={})
    run("ir/a.png", "vi/a.png", "-o", "fused.png", model=None)
    network = fusion.load("swift", "models/swift_msrs.safetensors", device="auto")
    np.testing.assert_array_equal(images.read("fused.png"), fusion.fuse(network, "ir/a.png", "vi/a.png"))


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.onnx", "W"])
def test_weights_alone_are_enough(run, folders, name):
    torch.manual_seed(0)
    network = SHIP(channels=4, interactions=1)
    torch.save(network.state_dict(), name)
    expected = fusion.fuse(fusion.load(weights=name), "ir/a.png", "vi/a.png")
    run("ir/a.png", "vi/a.png", "-o", "fused.png", "--weights", name, model=None)
    np.testing.assert_array_equal(images.read("fused.png"), expected)
    run("ir/a.png", "vi/a.png", "-o", "fused.png", model=name)
    np.testing.assert_array_equal(images.read("fused.png"), expected)
    assert run.notes == []


def test_a_file_of_no_known_network(run, folders):
    torch.save({"params": {"x": torch.zeros(1)}}, "theirs.pth")
    run("ir/a.png", "vi/a.png", "-o", "x.png", "--weights", "theirs.pth", model=None, status=2)
    known = ", ".join(sorted(name for name, cls in NETWORKS.items() if cls.learned))
    assert run.errors == [
        f"error: theirs.pth holds no weights that are known here (found 'x'): expected weights of {known}"
    ]


def test_the_untrained_network_says_so_once(run, folders):
    run("ir", "vi", "-o", "fused", "--weights", "none", model="swift")
    assert [line for line in run.notes if "never given weights" in line] == [
        "note: Swift was never given weights, its picture means nothing: fusion.load takes the shipped ones or a file"
    ]


def test_medical_weights_are_taken_where_they_are_shipped(run, folders):
    """From the tests' models/, which has both, then from one that has not."""
    files = [Path("models") / f"swift_{suffix}.safetensors" for suffix in ("msrs", "medical")]
    for seed, file in enumerate(files):
        torch.manual_seed(seed)
        weights.save(file, Swift(), name="swift")
    expected = [fusion.fuse(fusion.load("swift", file), "ir/a.png", "vi/a.png", task="medical") for file in files]
    assert (expected[0] != expected[1]).any()
    run("ir/a.png", "vi/a.png", "-o", "fused.png", "--task", "medical", model="swift")
    np.testing.assert_array_equal(images.read("fused.png"), expected[1])
    files[1].unlink()
    run("ir/a.png", "vi/a.png", "-o", "fused.png", "--task", "medical", model="swift")
    np.testing.assert_array_equal(images.read("fused.png"), expected[0])


def test_a_learned_network_of_which_nothing_is_shipped(run, folders):
    run("ir/a.png", "vi/a.png", "-o", "x.png", model="swift", status=2)
    assert run.errors[0].startswith("error: no weights of swift come with this project: name their file")


def test_weights_that_are_not_finite(run, folders):
    network = Swift()
    network.coarse.embed.bias.data[0] = np.nan
    weights.save("nan.safetensors", network, name="swift")
    run("ir/a.png", "vi/a.png", "-o", "x.png", "--weights", "nan.safetensors", model=None, status=2)
    assert run.errors[0].startswith("error: nan.safetensors is refused: 1 of 20 tensors hold NaN or infinity, e.g. coa")
    assert not Path("x.png").exists()


def test_medical_pairs_take_the_colour_of_the_functional_picture(run, tmp_path):
    images.write(tmp_path / "pet.png", noise(40, 48, 3))
    images.write(tmp_path / "mri.png", noise(40, 48, seed=1))
    run("pet.png", "mri.png", "-o", "fused.png", "--task", "medical")
    expected = fusion.fuse(fusion.load("average"), "pet.png", "mri.png", task="medical")
    np.testing.assert_array_equal(images.read("fused.png"), expected)
    assert expected.ndim == 3


@pytest.mark.parametrize(("which", "size"), [("ir", (60, 70)), ("vis", (40, 48))])
def test_resize_brings_one_to_the_size_of_the_other(run, tmp_path, which, size):
    images.write(tmp_path / "ir.png", noise(40, 48))
    images.write(tmp_path / "vis.png", noise(60, 70, 3))
    run("ir.png", "vis.png", "-o", "fused.png", status=1)
    assert "(scripts/fuse.py --resize)" in run.errors[0]
    run("ir.png", "vis.png", "-o", "fused.png", "--resize", which)
    assert images.read("fused.png").shape[:2] == size


def test_side_by_side(run, tmp_path):
    ir, vis = noise(40, 48, dtype=np.uint16), noise(40, 48, 3, seed=1)
    images.write(tmp_path / "ir.png", ir)
    images.write(tmp_path / "vis.png", vis)
    run("ir.png", "vis.png", "-o", "three.png", "--side-by-side")
    left, middle, right = np.hsplit(images.read("three.png"), 3)
    np.testing.assert_array_equal(left, np.repeat(np.rint(ir / 257).astype(np.uint8)[..., None], 3, axis=2))
    np.testing.assert_array_equal(middle, vis)
    np.testing.assert_array_equal(right, fusion.fuse(fusion.load("average"), ir, vis))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ir", "vi/a.png", "-o", "x"], "expected two pictures, two folders or two videos, got ir (a folder) and"),
        (["ir/a.png", "no.png", "-o", "x.png"], "no.png is not there (looked in "),
        (["ir/a.png", "vi/a.png", "-o", "x.gif"], "-o x.gif: a picture is written as one of .png, "),
        (["ir/a.png", "vi/a.png", "-o", "vi/a.png"], "-o vi/a.png is one of the sources"),
        (["ir", "vi", "-o", "vi"], "-o vi is one of the sources"),
        (["ir", "empty", "-o", "x", "--model", "average"], "empty holds no pictures"),
        (["ir/a.png", "vi/a.png", "-o", "x.png", "--model", "avrage"], "No network named 'avrage'."),
        (["ir/a.png", "vi/a.png", "-o", "x.png", "--model", "ship"], "no weights of ship come with this project: "),
        (["ir/a.png", "vi/a.png", "-o", "x.png", "--model", "average", "--weights", "w.pth"], "average is rule-b"),
        (["ir/a.png", "vi/a.png", "-o", "x.png", "--weights", "w.pth"], "w.pth is not there"),
        (["ir/a.png", "vi/a.png", "-o", "x.png", "--model", "average", "--device", "cuda:99"], "device: 'cuda:99'"),
        (["a.txt", "b.txt", "-o", "x.png"], "a.txt cannot be read as a video: it may be cut, or of a kind that is not"),
        (["ir/a.png", "a.txt", "-o", "x.png"], "a.txt cannot be read as a video: it may be cut, or of a kind that is"),
        (["ir/a.png", "nothing", "-o", "x.png"], "nothing is no kind of picture or video that is read here: it is em"),
        (["ir", "vi", "-o", "a.txt"], "-o a.txt cannot be made (there is a file of this name): two folders are fused"),
        (["ir", "vi", "-o", "a.txt/x"], "-o a.txt/x cannot be made (Not a directory): two folders are fused into a"),
    ],
)
def test_what_cannot_start_says_why_in_one_line(run, folders, arguments, message):
    (folders / "empty").mkdir()
    for name in ("a.txt", "b.txt"):
        (folders / name).write_text("text")
    (folders / "nothing").write_bytes(b"")
    run(*arguments, model=None, status=2)
    (line,) = run.errors
    assert line.startswith(f"error: {message.format(here=folders)}")


def test_a_pair_that_fails_leaves_nothing(run, folders):
    (folders / "ir/a.png").write_bytes((folders / "ir/a.png").read_bytes()[:500])
    run("ir/a.png", "vi/a.png", "-o", "fused.png", status=1)
    assert "is truncated" in run.errors[0]
    assert not (folders / "fused.png").exists()


@pytest.mark.parametrize("text", ["0", "-1", "inf", "nan", "x"])
def test_temporal_takes_a_number_of_frames(text, capsys):
    with pytest.raises(SystemExit) as caught:
        program.parse(["a", "b", "-o", "c", "--temporal", text])
    assert caught.value.code == 2


# --- two folders ----------------------------------------------------------------------------------------------------


def test_folders(run, folders):
    images.write(folders / "ir/lonely.png", noise(40, 48))
    assert run("ir", "vi", "-o", "out") == "3 fused, 0 were there, 0 failed: out\n"
    assert run.notes == [f"note: {Path('ir/lonely.png')} has no visible partner"]
    for name in ("a", "b", "c"):
        expected = fusion.fuse(fusion.load("average"), f"ir/{name}.png", f"vi/{name}.png")
        np.testing.assert_array_equal(images.read(f"out/{name}.png"), expected)


def test_one_bad_pair_does_not_stop_the_others(run, folders):
    images.write(folders / "vi/b.png", noise(41, 48))
    assert run("ir", "vi", "-o", "out", status=1) == "2 fused, 0 were there, 1 failed: out\n"
    assert run.errors[0].startswith("error: b: ir is 40x48 but vis is 41x48")
    assert set(stamps(folders / "out")) == {"a.png", "c.png"}
    images.write(folders / "vi/b.png", noise(40, 48))
    assert run("ir", "vi", "-o", "out") == "1 fused, 2 were there, 0 failed: out\n"


CHANGES = {
    "another model": (lambda f: None, ["--model", "maximum"], {"a.png", "b.png", "c.png"}),
    "gray": (lambda f: None, ["--output", "gray"], {"a.png", "b.png", "c.png"}),
    "another speed": (lambda f: None, ["--speed", "bf16"], {"a.png", "b.png", "c.png"}),
    "side by side": (lambda f: None, ["--side-by-side"], {"a.png", "b.png", "c.png"}),
    "fresh": (lambda f: None, ["--fresh"], {"a.png", "b.png", "c.png"}),
    "a source": (lambda f: images.write(f / "vi/b.png", noise(40, 48, seed=99)), [], {"b.png"}),
    "a picture": (lambda f: (f / "out/c.png").write_bytes(b"touched"), [], {"c.png"}),
    "a lost picture": (lambda f: (f / "out/a.png").unlink(), [], {"a.png"}),
    "a cut record": (lambda f: cut(f / "out/.fuse.jsonl"), [], {"c.png"}),
    "nothing": (lambda f: None, [], set()),
}


def cut(path: Path) -> None:
    """In the line of c.png: threads finish in any order."""
    path.write_bytes(b"".join(sorted(path.read_bytes().splitlines(keepends=True)))[:-20])


@pytest.mark.parametrize("change", CHANGES)
def test_a_finished_picture_is_kept_only_while_everything_it_was_made_of_is_the_same(run, folders, change):
    happen, arguments, expected = CHANGES[change]
    run("ir", "vi", "-o", "out")
    before = stamps(folders / "out")
    happen(folders)
    model = None if "--model" in arguments else "average"
    run("ir", "vi", "-o", "out", *arguments, model=model)
    after = stamps(folders / "out")
    assert {name for name in after if after[name] != before.get(name)} == expected
    run("ir", "vi", "-o", "out", *(a for a in arguments if a != "--fresh"), model=model)
    assert stamps(folders / "out") == after


def test_interrupted_and_continued(run, folders, monkeypatch):
    true, calls = infer.picture, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return true(*arguments)

    monkeypatch.setattr(infer, "picture", interrupted)
    run("ir", "vi", "-o", "out", status=130)
    assert run.errors == ["interrupted: finished pictures are kept, the same command continues"]
    run("ir", "vi", "-o", "out")
    assert len(calls) == 2 + 2
    assert sorted(p.name for p in (folders / "out").iterdir()) == [".fuse.jsonl", "a.png", "b.png", "c.png"]


def test_a_full_disk_stops_and_says_so(run, folders, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    run("ir", "vi", "-o", "out", status=1)
    assert run.errors[0].startswith(f"error: cannot write {Path('out/a.png')}: No space left on device; finished")


# --- no flicker -----------------------------------------------------------------------------------------------------


class Stretching(Network):
    """Answers with the infrared plane, which is then stretched, as CDDFuse does."""

    learned = False
    convention = Convention(stretch=True)

    def raw(self, ir, vis):
        return ir


@pytest.fixture
def stretching(monkeypatch):
    monkeypatch.setattr(program, "load", lambda args: Stretching())


def flickering(folder: Path, frames: int = 24) -> None:
    """A scene that stands still, with one hot pixel that comes and goes."""
    scene = np.linspace(60, 120, 40 * 48).reshape(40, 48).astype(np.uint8)
    for i in range(frames):
        ir = scene.copy()
        ir[0, 0] = 250 if i % 2 else 120
        images.write(folder / "ir" / f"{i:03}.png", ir)
        images.write(folder / "vi" / f"{i:03}.png", scene)


def brightness(folder: Path) -> np.ndarray:
    return np.array([images.read(p)[1:].mean() for p in sorted(folder.glob("*.png"))])


def test_temporal_smoothing_takes_the_flicker_out(run, tmp_path, stretching, monkeypatch):
    flickering(tmp_path)
    monkeypatch.setattr(program, "method_key", lambda args: str(args.temporal))
    run("ir", "vi", "-o", "plain")
    run("ir", "vi", "-o", "smooth", "--temporal")
    plain, smooth = brightness(tmp_path / "plain"), brightness(tmp_path / "smooth")
    assert np.abs(np.diff(plain)).mean() > 50
    assert np.abs(np.diff(smooth[8:])).mean() < np.abs(np.diff(plain)).mean() / 8
    # By hand: the first frame's own maximum 120, then an eighth of the way to 250.
    level = images.read(tmp_path / "smooth/001.png")[20, 20]
    raw = images.read(tmp_path / "ir/001.png")[20, 20]
    assert level == np.rint((raw - 60) / (120 + 130 / 8 - 60) * 255)
    # Without a number of frames to follow, or for one frame, nothing changes.
    run("ir", "vi", "-o", "one", "--temporal", "1")
    np.testing.assert_array_equal(brightness(tmp_path / "one"), plain)


def test_temporal_smoothing_continues_where_it_was_interrupted(run, tmp_path, stretching, monkeypatch):
    flickering(tmp_path, frames=9)
    monkeypatch.setattr(program, "method_key", lambda args: "key")
    run("ir", "vi", "-o", "whole", "--temporal")
    with monkeypatch.context() as patch:
        true, calls = infer.run, []

        def interrupted(*arguments):
            calls.append(arguments)
            if len(calls) == 5:
                raise KeyboardInterrupt
            return true(*arguments)

        patch.setattr(infer, "run", interrupted)
        run("ir", "vi", "-o", "twice", "--temporal", status=130)
    assert run("ir", "vi", "-o", "twice", "--temporal").startswith("5 fused, 4 were there")
    for path in (tmp_path / "whole").glob("*.png"):
        assert path.read_bytes() == (tmp_path / "twice" / path.name).read_bytes()
    # A frame that is lost is made again; those after it begin from the same values and still hold.
    (tmp_path / "twice/003.png").unlink()
    assert run("ir", "vi", "-o", "twice", "--temporal").startswith("1 fused, 8 were there")
    # A frame that changed changes all that follow.
    images.write(tmp_path / "ir/003.png", noise(40, 48))
    assert run("ir", "vi", "-o", "twice", "--temporal").startswith("6 fused, 3 were there")


def test_temporal_says_where_it_does_nothing(run, folders):
    run("ir", "vi", "-o", "out", "--temporal")
    assert run.notes == ["note: --temporal changes nothing: average does not stretch its pictures one by one"]


# --- two videos -----------------------------------------------------------------------------------------------------


def sample_frames(kind: str, size=(64, 48), frames: int = 100) -> list[np.ndarray]:
    """Real pictures, each shown for some frames and panned a little."""
    files = sorted((SAMPLE / kind).glob("*.png"))
    pictures = [cv2.resize(np.rint(images.to_float(images.read(p)) * 255).astype(np.uint8), size) for p in files]
    return [np.roll(pictures[i * len(pictures) // frames], i % 5, axis=1) for i in range(frames)]


def film(path: Path, frames: list[np.ndarray], fps: float = 12.5) -> Path:
    with videos.writing(path, fps) as append:
        for frame in frames:
            append(frame)
    return path


def read_all(path: Path) -> list[np.ndarray]:
    video, frames = videos.Video(path), []
    while (frame := video.read()) is not None:
        frames.append(frame)
    return frames


def test_videos_take_the_fastest_form_unless_told_otherwise(run, folders, monkeypatch):
    asked = []

    def network(*args, speed, **how):
        asked.append(speed)
        raise ValueError("enough")

    monkeypatch.setattr(program.build, "network", network)
    for name in ("ir.mkv", "vis.mkv"):
        film(folders / name, sample_frames("ir", frames=2))
    run("ir.mkv", "vis.mkv", "-o", "x.mkv", status=2)
    run("ir.mkv", "vis.mkv", "-o", "x.mkv", "--speed", "exact", status=2)
    run("ir/a.png", "vi/a.png", "-o", "x.png", status=2)
    assert asked == ["fast", "exact", "exact"]
    assert program.speed_for("video", "mine.onnx") == "exact"  # it has one speed


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_hundred_frames_in_are_a_hundred_frames_out(run, tmp_path, suffix):
    film(tmp_path / "ir.mkv", sample_frames("ir"))
    film(tmp_path / "vis.mkv", sample_frames("vi"))
    assert run("ir.mkv", "vis.mkv", "-o", f"fused{suffix}") == f"100 frames fused: fused{suffix}\n"
    capture = cv2.VideoCapture(str(tmp_path / f"fused{suffix}"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 100
    assert capture.get(cv2.CAP_PROP_FPS) == 12.5
    fused = read_all(tmp_path / f"fused{suffix}")
    assert len(fused) == 100
    network = fusion.load("average")
    for i in (0, 37, 99):
        ir, vis = (read_all(tmp_path / f"{kind}.mkv")[i] for kind in ("ir", "vis"))
        expected = images.luminance(fusion.fuse(network, ir, vis))
        # FFV1 in this build is of RGB and loses nothing; the others lose a few levels of 255.
        tolerance = 1e-6 if suffix == ".mkv" else 0.03
        assert np.abs(images.luminance(fused[i]) - expected).mean() < tolerance
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["ir.mkv", "vis.mkv", f"fused{suffix}"])


@pytest.mark.parametrize(("suffix", "size"), [(".avi", (49, 65)), (".mp4", (50, 66))])
def test_odd_sizes_and_side_by_side(run, tmp_path, suffix, size):
    film(tmp_path / "ir.avi", sample_frames("ir", (65, 49), 10), fps=30)
    film(tmp_path / "vis.avi", sample_frames("vi", (65, 49), 10), fps=30)
    run("ir.avi", "vis.avi", "-o", f"fused{suffix}")
    assert [frame.shape[:2] for frame in read_all(tmp_path / f"fused{suffix}")] == [size] * 10
    run("ir.avi", "vis.avi", "-o", f"three{suffix}", "--side-by-side")
    h, w = read_all(tmp_path / f"three{suffix}")[0].shape[:2]
    assert (h, w) == (size[0], 3 * 65 + (suffix == ".mp4"))


def test_videos_of_two_lengths_and_rates(run, tmp_path):
    """20 frames at 25 a second and 12 at 12.5: 0.8 s of both, each frame of the slower one twice."""
    film(tmp_path / "ir.mkv", sample_frames("ir", frames=20), fps=25)
    film(tmp_path / "vis.mkv", sample_frames("vi", frames=12))
    run("ir.mkv", "vis.mkv", "-o", "fused.mkv")
    assert len(read_all(tmp_path / "fused.mkv")) == 20
    assert run.notes == [
        "note: ir.mkv runs at 25 frames/s, vis.mkv at 12.5: frames are paired by their times",
        "note: vis.mkv ends 0.16 s later: what it shows then is left out",
    ]


def test_frames_of_a_folder_follow_each_other_in_natural_order(run, tmp_path, monkeypatch):
    """--temporal depends on the order: frame10 comes after frame9."""
    for i in range(1, 13):
        for kind in ("ir", "vi"):
            images.write(tmp_path / kind / f"frame{i}.png", noise(32, 48, seed=i))
    order, true = [], images.write
    monkeypatch.setattr(images, "write", lambda path, image: (order.append(path.stem), true(path, image)))
    run("ir", "vi", "-o", "fused", "--temporal")
    assert order == [f"frame{i}" for i in range(1, 13)]


def test_a_folder_of_frames_and_a_video(run, tmp_path):
    frames = sample_frames("ir", frames=12)
    for i, frame in enumerate(frames):
        images.write(tmp_path / "frames" / f"{i}.png", frame)
    film(tmp_path / "vis.mkv", sample_frames("vi", frames=12))
    for source in ("frames", "frames/%d.png"):
        run(source, "vis.mkv", "-o", "fused.mkv")
        fused = read_all(tmp_path / "fused.mkv")
        assert len(fused) == 12
        expected = fusion.fuse(fusion.load("average"), frames[11], read_all(tmp_path / "vis.mkv")[11])
        assert np.abs(fused[11].astype(int) - expected).max() <= 1


def test_a_window_needs_a_display(run, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for kind in ("ir", "vi"):
        film(tmp_path / f"{kind}.mkv", sample_frames(kind, frames=3))
    run("ir.mkv", "vi.mkv", "-o", "fused.mkv", "--show", status=1)
    assert run.errors == ["error: --show needs a display, and there is none here: leave it out, -o writes the video"]
    assert not (tmp_path / "fused.mkv").exists()


@pytest.mark.parametrize(
    "arguments", [["97", "98", "-o", "x.mp4"], ["rtsp://127.0.0.1:9/x", "rtsp://127.0.0.1:9/y", "-o", "x.mp4"]]
)
def test_a_source_that_is_not_there_is_one_line(run, arguments):
    run(*arguments, status=1)
    (line,) = run.errors
    assert "cannot be opened" in line or "cannot be read" in line


# --- one size -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "shape"), [("vis", (36, 64)), ("ir", (48, 64))])
def test_resizing_keeps_the_shape_of_things(run, tmp_path, side, shape):
    """A circle stays one: of the picture of another shape the middle is used, and that is said."""
    yx = np.mgrid[:480, :640]
    circle = np.where(np.hypot(yx[0] - 239.5, yx[1] - 319.5) < 120, 255, 0).astype(np.uint8)
    images.write(tmp_path / "ir.png", np.zeros((36, 64), np.uint8) if side == "vis" else circle[60:420])
    images.write(tmp_path / "vis.png", circle if side == "vis" else np.zeros((48, 64), np.uint8))
    run("ir.png", "vis.png", "-o", "fused.png", "--resize", side)
    fused = images.read(tmp_path / "fused.png")
    assert fused.shape == shape
    high, wide = (np.ptp(np.flatnonzero((fused > 60).any(axis))) for axis in (1, 0))
    assert abs(int(high) - int(wide)) <= 1
    assert ["another shape than" in line for line in run.notes].count(True) == 1


def test_resizing_to_the_same_shape_needs_no_note(run, tmp_path):
    images.write(tmp_path / "ir.png", noise(24, 32))
    images.write(tmp_path / "vis.png", noise(48, 64))
    run("ir.png", "vis.png", "-o", "fused.png", "--resize", "ir")
    assert run.notes == []


def textured(seed, h=240, w=320):
    x = cv2.GaussianBlur(np.random.default_rng(seed).standard_normal((h, w)).astype(np.float32), (0, 0), 4)
    return cv2.normalize(x, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def test_another_field_of_view_is_aligned(run, upright_views, tmp_path):
    vis = textured(0)
    part = 255 - vis[36:204, 48:272]
    images.write(tmp_path / "vis.png", vis)
    images.write(tmp_path / "ir.png", cv2.resize(part, None, fx=1.5, fy=1.5))
    run("ir.png", "vis.png", "-o", "fused.png", "--align")
    fused = images.read(tmp_path / "fused.png")
    assert np.abs(np.array(fused.shape) - (168, 224)).max() <= 3
    assert fused[8:-8, 8:-8].std() < 5  # a picture and its negative, on average, are one gray
    assert "note: aligned by similarity" in run.notes[0]


def test_what_cannot_be_aligned_is_refused(run, upright_views, tmp_path):
    images.write(tmp_path / "ir.png", textured(1))
    images.write(tmp_path / "vis.png", textured(2))
    run("ir.png", "vis.png", "-o", "fused.png", "--align", status=1)
    assert run.errors[0].startswith("error: ir and vis could not be aligned: no sure alignment: ")
    assert not (tmp_path / "fused.png").exists()


def test_videos_are_aligned_once(run, upright_views, tmp_path):
    frames = [textured(i) for i in range(6)]
    film(tmp_path / "vis.mkv", [x[20:220, 20:300] for x in frames])
    film(tmp_path / "ir.mkv", [255 - x[10:210, 32:312] for x in frames])
    run("ir.mkv", "vis.mkv", "-o", "fused.mkv", "--align")
    fused = read_all(tmp_path / "fused.mkv")
    assert len({x.shape for x in fused}) == 1
    assert all(x[8:-8, 8:-8].std() < 6 for x in fused)
    assert len([n for n in run.notes if "the same for all frames" in n]) == 1


def test_a_damaged_video_is_noticed(run, tmp_path):
    film(tmp_path / "ir.mkv", sample_frames("ir", frames=60))
    film(tmp_path / "vis.avi", sample_frames("vi", frames=60))
    whole = (tmp_path / "vis.avi").read_bytes()
    (tmp_path / "vis.avi").write_bytes(whole[: len(whole) // 2])
    run("ir.mkv", "vis.avi", "-o", "fused.mkv", status=1)
    written = len(read_all(tmp_path / "fused.mkv"))
    assert 10 < written < 50
    assert run.errors == [f"error: vis.avi states 60 frames, {written} could be read: it may be damaged"]


def test_swapped_videos_are_said_and_refused_where_strict(run, tmp_path):
    for kind in ("ir", "vi"):
        film(tmp_path / f"{kind}.mkv", sample_frames(kind, frames=5))
    run("ir.mkv", "vi.mkv", "-o", "right.mkv", "--strict")
    assert run.notes == []
    run("vi.mkv", "ir.mkv", "-o", "fused.mkv")
    assert run.notes[0].startswith("note: problem: swapped: ir is coloured and vis is gray")
    run("vi.mkv", "ir.mkv", "-o", "strict.mkv", "--strict", status=1)
    assert run.errors[-1].startswith("error: --strict: swapped: ir is coloured and vis is gray")
    assert not (tmp_path / "strict.mkv").exists()


def test_a_file_that_is_no_video(run, tmp_path):
    film(tmp_path / "ir.mp4", sample_frames("ir", frames=5))
    (tmp_path / "vis.mp4").write_bytes((tmp_path / "ir.mp4").read_bytes()[:300])
    run("ir.mp4", "vis.mp4", "-o", "fused.mp4", status=2)
    assert run.errors[0].startswith("error: vis.mp4 cannot be read as a video: it may be cut")
    assert not (tmp_path / "fused.mp4").exists()


def test_an_interrupted_video_leaves_nothing_and_spares_an_older_one(run, tmp_path, monkeypatch):
    for kind in ("ir", "vi"):
        film(tmp_path / f"{kind}.mkv", sample_frames(kind, frames=10))
    (tmp_path / "fused.mp4").write_bytes(b"an older one")
    true, calls = infer.picture, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return true(*arguments)

    monkeypatch.setattr(infer, "picture", interrupted)
    run("ir.mkv", "vi.mkv", "-o", "fused.mp4", status=130)
    assert run.errors == ["interrupted: nothing was written"]
    assert (tmp_path / "fused.mp4").read_bytes() == b"an older one"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fused.mp4", "ir.mkv", "vi.mkv"]


def test_frames_that_do_not_arrive_are_noticed(run, tmp_path, monkeypatch):
    for kind in ("ir", "vi"):
        film(tmp_path / f"{kind}.mkv", sample_frames(kind, frames=10))
    monkeypatch.setattr(sys.modules["fusion.videos.writing"], "_frames_in", lambda path: 7)
    run("ir.mkv", "vi.mkv", "-o", "fused.mp4", status=1)
    assert run.errors == ["error: cannot write fused.mp4: 7 of 10 frames arrived; is the disk full?"]
    assert not (tmp_path / "fused.mp4").exists()


# --- as a program ---------------------------------------------------------------------------------------------------


MEASURE = """
import resource, runpy, sys
program = runpy.run_path(sys.argv[1])
def peak(n):
    assert program["main"]([f"ir{n}.avi", f"vi{n}.avi", "-o", f"out{n}.avi", "--model", "average"]) == 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak(30)
print(peak(150) - before)
assert program["main"](["cut.mp4", "vi30.avi", "-o", "out.mp4", "--model", "average"]) == 2
"""


@pytest.mark.skipif(os.name == "nt", reason="needs the module `resource`")
def test_memory_does_not_grow_with_the_number_of_frames_and_decoders_keep_quiet(tmp_path):
    """Frames of 0.5 MB: 120 more of three videos, held, would be 187 MB."""
    for kind in ("ir", "vi"):
        frame = sample_frames(kind, (480, 360), 1)
        for n in (30, 150):
            film(tmp_path / f"{kind}{n}.avi", frame * n)
    (tmp_path / "cut.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(500))
    (tmp_path / "measure.py").write_text(MEASURE)
    done = processes.run(tmp_path, tmp_path / "measure.py", str(SCRIPT))
    assert done.status == 0, done.err
    assert float(done.out.splitlines()[-1]) < 40  # MB
    assert len(read_all(tmp_path / "out150.avi")) == 150
    assert done.err.count("\n") == 1  # not FFmpeg's words
    assert done.err.startswith("error: cut.mp4 cannot be read as a video")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM")
def test_sigterm_ends_like_ctrl_c(tmp_path):
    for kind in ("ir", "vi"):
        film(tmp_path / f"{kind}.avi", sample_frames(kind, (320, 240), 1) * 400)
    program = processes.Program(tmp_path, SCRIPT, "ir.avi", "vi.avi", "-o", "out.mp4", "--model", "cpfusion")
    end = time.monotonic() + 60
    while not list(tmp_path.glob(".out.*.part.mp4")):
        assert time.monotonic() < end
        assert program.alive
        time.sleep(0.02)
    program.terminate()
    program.wait()
    assert (program.status, program.err) == (130, "interrupted: nothing was written\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ir.avi", "vi.avi"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_a_bar_tells_speed_and_time_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind in ("ir", "vi"):
        film(tmp_path / f"{kind}.avi", sample_frames(kind, frames=30))
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert program.main(["ir.avi", "vi.avi", "-o", "out.avi", "--model", "average"]) == 0
    assert re.search(r"30/30 \[\d\d:\d\d<\d\d:\d\d, +[\d.]+frame/s\]", sys.stderr.getvalue())


def test_of_live_sources_the_latency_is_shown(tmp_path, monkeypatch, capsys):
    """Streams that are files in truth; some of their frames are passed over, as of a camera that is too fast."""
    monkeypatch.chdir(tmp_path)
    for kind in ("ir", "vi"):
        film(tmp_path / f"{kind}.avi", sample_frames(kind, frames=30))
    opened = videos.opened
    monkeypatch.setattr(videos, "opened", lambda path, *_: videos.Live("", opened(path)))
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert program.main(["ir.avi", "vi.avi", "-o", "out.avi", "--model", "average"]) == 0
    assert re.fullmatch(r"\d+ frames fused: out.avi, latency \d+ ms \(median\)\n", capsys.readouterr().out)
    assert re.search(r"frame/s, latency \d+ ms\]", sys.stderr.getvalue())


def test_its_options_are_in_its_help(capsys):
    with pytest.raises(SystemExit):
        program.parse(["--help"])
    text = capsys.readouterr().out
    for option in ("--weights", "--resize", "--temporal", "--side-by-side", "--task", "--fresh", "--output"):
        assert option in text
