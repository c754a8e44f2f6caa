"""Videos: frames by their times, their depth, sources of all kinds; every expected frame is made here."""

from __future__ import annotations

import functools
import http.server
import threading
import time
from fractions import Fraction

import av
import numpy as np
import pytest

from fusion import images, videos
from fusion.reading.ranges import Range

H, W = 32, 48


def frame(level: int) -> np.ndarray:
    """A flat frame that tells which one it is."""
    return np.full((H, W), level, np.uint8)


def film(path, frames, times, *, pixels="gray", fps=30):
    """A lossless video whose frames come at these times, in seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=fps)
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], pixels
        stream.codec_context.time_base = Fraction(1, 1000)
        for x, seconds in zip(frames, times, strict=True):
            each = av.VideoFrame.from_ndarray(x, format=pixels)
            each.pts, each.time_base = round(1000 * seconds), Fraction(1, 1000)
            container.mux(stream.encode(each))
        container.mux(stream.encode())
    return path


def steady(number, fps, start=0.0):
    return [start + i / fps for i in range(number)]


def pairs_of(ir, vis) -> list[tuple[int, int]]:
    """Of each pair the two levels."""
    pairs = videos.Pairs(videos.opened(ir), videos.opened(vis))
    return [(int(a[0, 0]), int(b[0, 0])) for a, b in pairs]


# --- time -----------------------------------------------------------------------------------------------------------


def test_thermal_at_9_hz_meets_visible_at_30(tmp_path):
    """One second of each: 30 pairs, every visible frame once, with the infrared frame nearest in time."""
    ir = film(tmp_path / "ir.mkv", [frame(i) for i in range(9)], steady(9, 9), fps=9)
    vis = film(tmp_path / "vis.mkv", [frame(i) for i in range(30)], steady(30, 30))
    found = pairs_of(ir, vis)
    assert [v for _, v in found] == list(range(30))
    for i, v in found:
        assert abs(i / 9 - v / 30) <= 1 / 18 + 0.002 or i == 8  # milliseconds of the container
    assert [i for i, _ in found] == sorted(i for i, _ in found)
    assert {i for i, _ in found} == set(range(9))


def test_one_rate_and_start_is_frame_by_frame(tmp_path):
    paths = [film(tmp_path / f"{side}.mkv", [frame(i) for i in range(50)], steady(50, 29.97)) for side in ("a", "b")]
    assert pairs_of(*paths) == [(i, i) for i in range(50)]


@pytest.mark.parametrize("late", ["ir", "vis"])
def test_a_late_start_is_kept(tmp_path, late):
    starts = {"ir": 0.0, "vis": 0.0, late: 2.0}
    paths = {
        side: film(tmp_path / f"{side}.mkv", [frame(i) for i in range(n)], steady(n, 10, starts[side]), fps=10)
        for side, n in (("ir", 30), ("vis", 30))
    }
    found = pairs_of(paths["ir"], paths["vis"])
    step = 20 if late == "vis" else -20
    assert found == [(i, i - step) for i in range(max(0, step), 30 + min(0, step))]


def test_a_late_start_is_no_damage(tmp_path):
    video = videos.opened(film(tmp_path / "a.mkv", [frame(i) for i in range(10)], steady(10, 10, 2.0), fps=10))
    while video.read() is not None:
        pass
    assert (video.frames, video.shortfall()) == (10, None)


def test_a_varying_rate_is_followed(tmp_path):
    """Frames of half the rate in the middle: the steady partner's frames meet whatever was shown then."""
    times = [0, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0]
    ir = film(tmp_path / "ir.mkv", [frame(round(100 * t)) for t in times], times, fps=10)
    vis = film(tmp_path / "vis.mkv", [frame(10 * i) for i in range(11)], steady(11, 10), fps=10)
    found = pairs_of(ir, vis)
    assert len(found) >= 10
    assert all(abs(i - v) <= 10 for i, v in found)


def test_times_that_do_not_meet_give_no_pair(tmp_path):
    ir = film(tmp_path / "ir.mkv", [frame(i) for i in range(5)], steady(5, 10), fps=10)
    vis = film(tmp_path / "vis.mkv", [frame(i) for i in range(5)], steady(5, 10, 9.0), fps=10)
    assert pairs_of(ir, vis) == []


@pytest.mark.parametrize("every", [1, 3, 10])
def test_a_varying_rate_is_no_damage(tmp_path, every):
    """Of 40 frames, at 10 a second, only some; Matroska states how long that takes, not how many they are."""
    times = [t for i, t in enumerate(steady(40, 10)) if i % every == 0 or 7 < i < 12]
    video = videos.opened(film(tmp_path / "a.mkv", [frame(i) for i in range(len(times))], times, fps=10))
    while video.read() is not None:
        pass
    assert (video.frames, video.shortfall()) == (len(times), None)


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_cut_file_is_said_to_lack_frames(tmp_path, share):
    noise = [np.random.default_rng(i).integers(0, 256, (H, W), np.uint8) for i in range(40)]
    data = film(tmp_path / "a.mkv", noise, steady(40, 10), fps=10).read_bytes()
    (tmp_path / "a.mkv").write_bytes(data[: int(share * len(data))])
    video = videos.opened(tmp_path / "a.mkv")
    while video.read() is not None:
        pass
    assert video.shortfall().startswith(f"{tmp_path / 'a.mkv'} states 40 frames, {video.frames} could be read")


def test_a_source_without_a_frame_is_named(tmp_path):
    class Nothing:
        path, fps, stated, read_timed = "x.mp4", 10, 0, staticmethod(lambda: None)

    vis = videos.opened(film(tmp_path / "vis.mkv", [frame(1)], [0.0]))
    with pytest.raises(ValueError, match=r"x\.mp4 holds no frame that can be read: it may be cut or empty"):
        videos.Pairs(Nothing(), vis)


# --- depth ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pixels", "bits"), [("gray16le", 16), ("gray12le", 12), ("gray10le", 10)])
def test_deep_gray_keeps_its_depth(tmp_path, pixels, bits):
    counts = np.linspace(0, 2**bits - 1, H * W).astype(np.uint16).reshape(H, W)
    video = videos.opened(film(tmp_path / "a.mkv", [counts], [0.0], pixels=pixels))
    got = video.read()
    assert got.dtype == np.uint16
    assert len(np.unique(got)) == len(np.unique(counts))
    np.testing.assert_allclose(got / 65535, counts / (2**bits - 1), atol=2 / 2**bits)


def test_one_range_for_all_frames_of_raw_counts(tmp_path):
    frames = [np.full((H, W), 7000 + 100 * i, np.uint16) for i in range(20)]
    for x in frames:
        x[0, :10] = np.arange(7000, 9000, 200)
    video = videos.opened(film(tmp_path / "a.mkv", frames, steady(20, 10), pixels="gray16le", fps=10))
    with pytest.warns(UserWarning, match="uses 2.9% of its 16 bits"):
        ranged = videos.with_range(video, "auto")
    levels = [int(ranged(video.read())[-1, -1]) for _ in frames]
    np.testing.assert_allclose(levels, [65535 * 100 * i / 1900 for i in range(20)], atol=1)


def test_a_range_of_ones_own_is_of_8_bits_too(tmp_path):
    video = videos.opened(film(tmp_path / "a.mkv", [frame(50), frame(100)], [0.0, 0.1]))
    ranged = videos.with_range(video, Range(50, 150))
    assert [ranged(video.read())[0, 0] for _ in range(2)] == [0, 32768]


# --- sources --------------------------------------------------------------------------------------------------------


@pytest.fixture
def numbered(tmp_path):
    """frame1.png ... frame12.png of the levels 1 ... 12."""
    for i in range(1, 13):
        images.write(tmp_path / "frames" / f"frame{i}.png", frame(i))
    return tmp_path / "frames"


@pytest.mark.parametrize("name", ["", "frame%d.png"])
def test_pictures_come_in_natural_order(numbered, name):
    source = videos.opened(numbered / name, 12.5)
    timed = [source.read_timed() for _ in range(12)]
    assert source.read_timed() is None
    assert [int(x[0, 0]) for _, x in timed] == list(range(1, 13))
    assert [t for t, _ in timed] == [i / 12.5 for i in range(12)]


def test_a_folder_of_frames_meets_a_video(numbered, tmp_path):
    vis = film(tmp_path / "vis.mkv", [frame(i) for i in range(1, 13)], steady(12, 10), fps=10)
    pairs = videos.Pairs(videos.opened(numbered, 10.0), videos.opened(vis))
    assert [(int(a[0, 0]), int(b[0, 0])) for a, b in pairs] == [(i, i) for i in range(1, 13)]


@pytest.mark.parametrize("text", ["0", "rtsp://user:word@host/x", "http://host/a.mp4", "frames/frame%04d.png"])
def test_what_is_no_file_is_known_by_its_text(text):
    assert videos.is_source(text)
    assert not videos.is_source("vis.mp4")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_an_http_address(tmp_path):
    film(tmp_path / "a.mkv", [frame(i) for i in range(6)], steady(6, 10), fps=10)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        video = videos.opened(f"{address}/a.mkv")
        assert [int(video.read()[0, 0]) for _ in range(6)] == list(range(6))
        with pytest.raises(ValueError, match="cannot be read as a video"):
            videos.opened(f"{address}/nothing.mkv")
    finally:
        server.shutdown()
        server.server_close()


def test_a_live_source_gives_its_newest_frame_and_its_end(tmp_path):
    video = videos.opened(film(tmp_path / "a.mkv", [frame(i) for i in range(6)], steady(6, 10), fps=10))
    live = videos.Live("rtsp://host/x", video)
    levels, seen = [], -1.0
    while timed := live.newest(seen):
        seen = timed[0]
        levels.append(int(timed[1][0, 0]))
    live.close()
    assert levels == sorted(levels)
    assert levels[-1] == 5
    assert live.frames == 6


def test_latency_counts_from_the_arrival_of_the_older_frame(tmp_path):
    films = [film(tmp_path / f"{name}.mkv", [frame(i) for i in range(3)], steady(3, 10), fps=10) for name in "ab"]
    live = [videos.Live("rtsp://host/x", videos.opened(path)) for path in films]
    pairs = videos.Pairs(*live)
    next(iter(pairs))
    time.sleep(0.05)
    assert 0.05 <= pairs.latency() < 60
    for each in live:
        each.close()


@pytest.mark.parametrize("text", ["rtsp://user:secret@127.0.0.1:9/x", "http://user:secret@127.0.0.1:9/x"])
def test_an_address_without_an_answer_is_one_line_without_its_password(text):
    with pytest.raises(ValueError, match="cannot be read as a video") as caught:
        videos.opened(text)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_camera_that_is_not_there():
    with pytest.raises(ValueError, match="camera 97 cannot be opened"):
        videos.opened("97")


# --- how a camera was held ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_turned_video_is_read_upright(tmp_path, degrees):
    """MP4's track header says how the frames are shown (ISO 14496-12, 6.2.2): (x, y) -> (a x + c y, b x + d y), y down,
    so that (0, 1, -1, 0) turns the right side down, clockwise.
    """
    x = np.zeros((H, W), np.uint8)
    x[: H // 2, : W // 2] = 255
    with videos.writing(tmp_path / "a.mp4", 10) as append:
        append(x)
    stored = videos.opened(tmp_path / "a.mp4").read()
    a, b, c, d = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    data = (tmp_path / "a.mp4").read_bytes()
    at = data.find(matrix(1, 0, 0, 1), data.find(b"tkhd"))
    assert at > 0
    (tmp_path / "b.mp4").write_bytes(data[:at] + matrix(a, b, c, d) + data[at + 36 :])
    np.testing.assert_array_equal(videos.opened(tmp_path / "b.mp4").read(), np.rot90(stored, -degrees // 90))


def matrix(a, b, c, d):
    """Nine numbers with 16, of the last column 30, bits after the point."""
    return np.array([a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30], ">i4").tobytes()


# --- reading ahead --------------------------------------------------------------------------------------------------


def test_the_next_pair_is_made_while_the_one_before_is_in_use():
    made = [threading.Event() for _ in range(3)]

    def source():
        for number, event in enumerate(made):
            event.set()
            yield number

    seen = []
    for number in videos.ahead(source()):
        assert all(event.wait(10) for event in made[: number + 2])
        assert not any(event.is_set() for event in made[number + 2 :])
        seen.append(number)
    assert seen == [0, 1, 2]
    assert list(videos.ahead(())) == []


def test_an_error_comes_in_its_place_and_closing_ends_the_thread():
    def source():
        yield 1
        raise ValueError("frame 2 is damaged")

    coming = videos.ahead(source())
    assert next(coming) == 1
    with pytest.raises(ValueError, match="frame 2 is damaged"):
        next(coming)
    before = threading.active_count()
    coming = videos.ahead(iter(range(5)))
    next(coming)
    coming.close()
    assert threading.active_count() == before
