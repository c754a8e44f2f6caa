"""The app, in a real headless Chromium: one server for all tests, which must live through each of them."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile

import cv2
import numpy as np
import pytest
from chromium import PATIENCE, eventually, find, in_browser, load_script, screenshots
from PIL import Image
from test_web import png_of

import fusion
from fusion import images, videos

pytest.importorskip("gradio", reason="the app needs the extra packages: pip install -e '.[app]'")
from fusion.app.messages import Answer, Failed, Request
from fusion.app.processes import Processes
from fusion.app.sessions import Sessions
from fusion.data.one_size import OneSize

pytestmark = in_browser

MESSAGE = "(document.querySelector('#message') || {innerText: ''}).innerText"
FINDINGS = "(document.querySelector('#findings') || {innerText: ''}).innerText"
SOON = 20
"""Seconds until what was stopped has ended, on a machine that does other work: far less than the work would take."""
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the app keeps its files."""
    return tmp_path_factory.mktemp("app")


@pytest.fixture(scope="module")
def strangers():
    """Addresses beyond this machine that the server's process tried to reach, which it may not."""
    found, connect, before = [], socket.socket.connect, dict(os.environ)

    def checked(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            found.append(address)
            raise OSError(f"{address} is not this machine")
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", checked)
        yield found
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def served(folder, strangers):
    """(page, address)."""
    script = load_script("app")
    page, address = script.start(script.parse(["--max-upload", "2"]), folder)
    yield page, address
    script.close(page)


@pytest.fixture
def app(browser, served, strangers):
    """The page, opened; afterwards nothing has come from elsewhere and the server answers."""
    opened(browser, served[1])
    yield browser
    addresses = browser.execute_script("return performance.getEntriesByType('resource').map((e) => e.name)")
    assert [a for a in addresses if not a.startswith((served[1], "blob:", "data:"))] == []
    assert strangers == []
    assert OPENER.open(served[1]).status == 200


def opened(browser, address: str) -> None:
    browser.get(address)
    eventually(browser, "document.querySelector('#vis-file input[type=file]')", 30)


def choose(app, side: str, path) -> None:
    find(app, f"#{side}-file input[type=file]").send_keys(str(path))


def bring(app, ir, vis) -> None:
    choose(app, "ir", ir)
    said(app, "now the visible picture")
    choose(app, "vis", vis)
    eventually(app, f"{FINDINGS} || document.querySelector('#message .wrong')", 60)


def said(app, part: str, seconds: float = 60) -> str:
    return eventually(app, f"{MESSAGE}.includes({part!r}) && {MESSAGE}", seconds)


def found(app, part: str) -> str:
    return eventually(app, f"{FINDINGS}.includes({part!r}) && {FINDINGS}", 60)


def press(app, selector: str) -> None:
    eventually(app, f"document.querySelector('{selector}')")
    app.execute_script(f"document.querySelector('{selector}').click()")


def tick(app, *names: str, where: str = "#methods") -> None:
    """Choose exactly these methods."""
    for box in app.find_elements("css selector", f"{where} label"):
        if (box.text in names) != box.find_element("css selector", "input").is_selected():
            box.click()


def shown(app) -> dict[str, np.ndarray]:
    """The pictures under the slider, by their captions' first word."""
    script = (
        "return [...document.querySelectorAll('#gallery .gallery-item, #gallery .thumbnail-item')]"
        ".map((e) => [(e.innerText || '').trim(), (e.querySelector('img') || {}).src]).filter((e) => e[1])"
    )
    eventually(app, "document.querySelector('#gallery img')")
    pictures = {}
    for caption, source in app.execute_script(script):
        pictures[caption.split(" ")[0]] = np.asarray(Image.open(io.BytesIO(OPENER.open(source).read())))
    return pictures


def away(picture, other) -> int:
    assert picture.shape == other.shape
    return int(np.abs(picture.astype(int) - other).max())


def files_in(folder) -> list:
    """All that holds something."""
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]


@pytest.fixture(scope="session")
def sample(root):
    def pair(name: str):
        return [root / f"test_img/sample/{side}/{name}.png" for side in ("ir", "vi")]

    return pair


# --- pairs that can be fused ----------------------------------------------------------------------------------------


def test_a_sample_pair_by_three_methods(app, sample, tmp_path):
    find(app, "#sample input").click()
    option = "[...document.querySelectorAll('[role=option]')].find((o) => o.innerText.includes('04_harbour'))"
    eventually(app, option)
    app.execute_script(f"{option}.dispatchEvent(new MouseEvent('mousedown', {{bubbles: true}}))")
    found(app, "the pair doctor finds nothing wrong")
    press(app, "#fuse")
    said(app, "fused by 3 methods")
    pictures = shown(app)
    assert list(pictures) == ["infrared", "visible", "swift", "cpfusion", "average"]
    for name in ("swift", "cpfusion", "average"):  # one level: the order of sums follows the number of threads
        assert away(pictures[name], fusion.fuse(fusion.load(name), *sample("04_harbour_dusk"))) <= 1
    table = find(app, "#scores").text
    scores = fusion.evaluate(pictures["average"], *sample("04_harbour_dusk"))
    assert all(f"{value:.4g}" in table for value in scores.values())
    assert app.execute_script("return document.querySelectorAll('#slider img').length") == 2
    app.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    press(app, "#download")
    end = time.monotonic() + 10 * PATIENCE
    while not (tmp_path / "fused.zip").is_file():
        assert time.monotonic() < end
        time.sleep(0.05)
    with zipfile.ZipFile(tmp_path / "fused.zip") as archive:
        assert archive.namelist() == ["scores.csv", "swift.png", "cpfusion.png", "average.png"]
        assert away(np.asarray(Image.open(archive.open("swift.png"))), pictures["swift"]) == 0


def test_raw_counts_of_16_bits_arrive_whole(app, sample, tmp_path):
    ir, vis = sample("01_street_day")
    counts = 7000 + 9 * images.read(ir).astype(np.uint16)
    images.write(tmp_path / "counts.png", counts)
    tick(app, "average")
    bring(app, tmp_path / "counts.png", vis)
    found(app, "becomes black")
    press(app, "#fuse")
    said(app, "fused by 1 method")
    with pytest.warns(UserWarning, match="becomes black"):
        expected = fusion.fuse(fusion.load("average"), tmp_path / "counts.png", vis)
    assert away(shown(app)["average"], expected) == 0


def test_the_button_swaps(app, sample):
    ir, vis = sample("01_street_day")
    tick(app, "average")
    bring(app, vis, ir)
    assert "look swapped" in found(app, "swapped")
    press(app, "#remedy-swap")
    said(app, "fused by 1 method")
    assert away(shown(app)["average"], fusion.fuse(fusion.load("average"), ir, vis)) == 0
    found(app, "finds nothing wrong")


def test_the_button_brings_to_one_size(app, sample, tmp_path):
    ir, vis = sample("01_street_day")
    images.write(tmp_path / "half.png", cv2.resize(images.read(ir), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    tick(app, "average")
    bring(app, tmp_path / "half.png", vis)
    found(app, "ir is 120x160 but vis is 240x320")
    press(app, "#fuse")
    assert said(app, "one size first") == spoken(tmp_path / "half.png", vis)
    press(app, "#remedy-resize")
    said(app, "fused by 1 method")
    assert shown(app)["average"].shape == (240, 320, 3)
    assert not app.find_elements("css selector", "#remedy-resize")


def test_the_button_aligns(app, sample, tmp_path):
    ir, vis = (images.read(path) for path in sample("01_street_day"))
    images.write(tmp_path / "ir.png", np.roll(ir, (7, -11), (0, 1))[12:-12, 12:-12])
    images.write(tmp_path / "vis.png", vis[12:-12, 12:-12])
    tick(app, "average")
    bring(app, tmp_path / "ir.png", tmp_path / "vis.png")
    assert "12.8 pixels apart" in found(app, "pixels apart")
    press(app, "#remedy-align")
    assert "aligned by similarity" in said(app, "fused by 1 method")
    pair = OneSize(align="similarity", note=str)(*(images.read(tmp_path / f"{side}.png") for side in ("ir", "vis")))
    assert away(shown(app)["average"], fusion.fuse(fusion.load("average"), *pair)) == 0
    found(app, "finds nothing wrong")


def test_the_button_stretches(app, sample, tmp_path):
    ir, vis = sample("01_street_day")
    images.write(tmp_path / "dim.png", images.read(ir) // 8)
    tick(app, "average")
    bring(app, tmp_path / "dim.png", vis)
    found(app, "ir has no level above 31 of 255")
    press(app, "#remedy-stretch")
    said(app, "fused by 1 method")
    pair = [images.read(path, "percentile") for path in (tmp_path / "dim.png", vis)]
    assert away(shown(app)["average"], fusion.fuse(fusion.load("average"), *pair)) == 0
    assert not app.find_elements("css selector", "#remedy-stretch")


def test_the_button_fuses_as_a_medical_pair(app, tmp_path):
    y, x = np.mgrid[:128, :128]
    inside = ((y - 64) ** 2 + (x - 64) ** 2 < 45**2)[..., None]
    red = np.rint(127 + 100 * np.sin(x / 7) * np.cos(y / 9))
    images.write(tmp_path / "pet.png", (inside * np.stack([red, 255 - red, np.full_like(red, 40)], 2)).astype(np.uint8))
    mri = np.rint(120 + 90 * np.sin(x / 5 + 1) * np.sin(y / 6))
    images.write(tmp_path / "mri.png", (inside[..., 0] * mri).astype(np.uint8))
    tick(app, "average")
    bring(app, tmp_path / "pet.png", tmp_path / "mri.png")
    found(app, "as PET and SPECT are")
    press(app, "#remedy-medical")
    said(app, "fused by 1 method")
    pair = tmp_path / "pet.png", tmp_path / "mri.png"
    expected = fusion.fuse(fusion.load("average", task="medical"), *pair, task="medical")
    assert expected.ndim == 3  # in the colours of PET
    assert away(shown(app)["average"], expected) == 0


# --- pictures that cannot -------------------------------------------------------------------------------------------


def spoken(ir, vis) -> str:
    """What the command says of a pair, files by their names."""
    with contextlib.redirect_stderr(io.StringIO()) as error:
        assert load_script("fuse").main([str(ir), str(vis), "-o", str(ir.parent / "out.png"), "--model", "average"])
    (line,) = (line for line in error.getvalue().splitlines() if line.startswith("error: "))
    return line.removeprefix("error: ").replace(f"{ir.parent}/", "").replace(f"{vis.parent}/", "")


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("text.png", b"no picture at all", "text.png cannot be decoded"),
        (
            "bomb.png",
            png_of(20_000, 10_000),
            "bomb.png is 10000x20000 (height x width): expected at most 13 megapixels",
        ),
        ("empty.png", b"", "empty.png"),
        ("cut.png", png_of(300, 200)[:-40], "cut.png"),
    ],
    ids=("text", "bomb", "empty", "cut"),
)
def test_what_cannot_be_read_is_said(app, sample, tmp_path, name, content, line):
    (tmp_path / name).write_bytes(content)
    bring(app, tmp_path / name, sample("01_street_day")[1])
    said(app, line)
    press(app, "#fuse")
    time.sleep(0.3)
    text = said(app, line)
    assert "\n" not in text
    assert not app.execute_script("return !!document.querySelector('#slider img')")


def test_an_upload_that_is_too_large_is_refused(app, served, tmp_path, folder):
    (tmp_path / "large.png").write_bytes(os.urandom(3_000_000))
    choose(app, "ir", tmp_path / "large.png")
    eventually(app, "document.body.innerText.includes('exceed the maximum allowed size')")
    body = (
        b"--b\r\nContent-Disposition: form-data; name=files; filename=x.png\r\n\r\n" + bytes(3_000_000) + b"\r\n--b--"
    )
    header = {"Content-Type": "multipart/form-data; boundary=b"}
    with pytest.raises(urllib.error.HTTPError, match="413"):  # and one that passes by the page
        OPENER.open(urllib.request.Request(f"{served[1]}gradio_api/upload", body, header))
    assert not [path for path in files_in(folder) if path.stat().st_size > 1_000_000]


# --- videos ---------------------------------------------------------------------------------------------------------


def filmed(folder, name: str, frames: int, size: tuple[int, int]):
    rng = np.random.default_rng(0)
    path = folder / f"{name}.mp4"
    picture = cv2.resize(rng.integers(0, 256, (6, 8), np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)
    with videos.writing(path, 25.0) as append:
        for _ in range(frames):
            append(picture)
    return path


SET_MESSAGE = "document.querySelector('#set-message').innerText"
VIDEO_MESSAGE = "document.querySelector('#video-message').innerText"


def bring_videos(app, ir, vis) -> None:
    app.execute_script("[...document.querySelectorAll('[role=tab]')].find((t) => t.innerText == 'Videos').click()")
    for side, path in (("ir", ir), ("vis", vis)):
        eventually(app, f"document.querySelector('#{side}-video input[type=file]')")
        find(app, f"#{side}-video input[type=file]").send_keys(str(path))
        eventually(app, f"document.querySelector('#{side}-video .file-preview')")


def test_two_videos(app, tmp_path, folder):
    bring_videos(app, *(filmed(tmp_path, name, 12, (48, 64)) for name in ("ir", "vis")))
    press(app, "#video-fuse")
    assert "12 frames fused in" in eventually(app, f"{VIDEO_MESSAGE}.includes('fused') && {VIDEO_MESSAGE}", 60)
    eventually(app, "document.querySelector('#video video')?.readyState >= 2")  # the browser plays it
    (made,) = folder.rglob("fused.mp4")
    film = videos.Video(made)
    while film.read() is not None:
        pass
    assert film.frames == 12


def test_videos_can_be_stopped(app, served, tmp_path):
    bring_videos(app, *(filmed(tmp_path, name, 200, (300, 400)) for name in ("ir", "vis")))
    press(app, "#video-fuse")
    eventually(app, f"{VIDEO_MESSAGE}.includes('of 200')", 60)
    press(app, "#video-stop")
    eventually(app, f"{VIDEO_MESSAGE}.includes('stopped')", SOON)
    assert not served[0].settings.processes._busy


def test_a_text_is_no_video(app, tmp_path):
    (tmp_path / "ir.mp4").write_text("no video")
    bring_videos(app, tmp_path / "ir.mp4", filmed(tmp_path, "vis", 2, (48, 64)))
    press(app, "#video-fuse")
    assert eventually(app, f"{VIDEO_MESSAGE}.includes('ir.mp4') && {VIDEO_MESSAGE}", 60).startswith("ir.mp4 ")


# --- folders --------------------------------------------------------------------------------------------------------


def bring_folders(app, sample, tmp_path) -> None:
    for name in ("03_field_smoke", "07_road_fog"):
        for side, file in zip(("ir", "vis"), sample(name), strict=True):
            (tmp_path / side).mkdir(exist_ok=True)
            (tmp_path / side / file.name).write_bytes(file.read_bytes())
    app.execute_script("[...document.querySelectorAll('[role=tab]')].find((t) => t.innerText == 'Folders').click()")
    for side in ("ir", "vis"):
        eventually(app, f"document.querySelector('#{side}-folder input[type=file]')")
        find(app, f"#{side}-folder input[type=file]").send_keys(str(tmp_path / side))
        eventually(app, f"document.querySelector('#{side}-folder .file-preview')")


def test_a_comparison_can_be_stopped_and_leaves_nothing(app, served, sample, tmp_path, folder):
    bring_folders(app, sample, tmp_path)
    tick(app, "gtf", "fpde", "cddfuse", where="#set-methods")  # a minute or more of work
    press(app, "#set-compare")
    eventually(app, f"{SET_MESSAGE}.includes('of 6')", 60)
    processes = served[0].settings.processes
    ((process,),) = processes._busy.values()
    started = time.monotonic()
    press(app, "#set-stop")
    eventually(app, f"{SET_MESSAGE}.includes('stopped')", SOON)
    while process._process.is_alive():
        assert time.monotonic() - started < SOON * PATIENCE
        time.sleep(0.02)
    assert not processes._busy
    assert len([path for path in files_in(folder) if path.suffix == ".png"]) >= 4  # what was brought is still here
    app.get("about:blank")
    end = time.monotonic() + 10 * PATIENCE
    while files_in(folder):
        assert time.monotonic() < end, files_in(folder)
        time.sleep(0.05)


def test_two_folders_become_a_comparison_page(app, sample, tmp_path):
    bring_folders(app, sample, tmp_path)
    press(app, "#set-compare")
    assert "Open the comparison page" in eventually(app, f"{SET_MESSAGE}.includes('Open') && {SET_MESSAGE}", 90)
    address, visit = find(app, "#set-message a").get_attribute("href"), app.current_window_handle
    app.switch_to.new_window("tab")  # as the link does: the visit must not end
    try:
        app.get(address)
        text = eventually(app, "document.body.innerText.includes('cpfusion') && document.body.innerText")
        assert "2 pairs" in text
        eventually(app, "[...document.images].some((i) => i.naturalWidth)")
    finally:
        app.close()
        app.switch_to.window(visit)


# --- the server -----------------------------------------------------------------------------------------------------


def test_stop_ends_the_work(app, served, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("ir", "vis"):
        images.write(tmp_path / f"{name}.png", rng.integers(0, 256, (900, 1000), np.uint8))
    tick(app, "gtf", "fpde", "cddfuse")  # a minute or more of work
    bring(app, tmp_path / "ir.png", tmp_path / "vis.png")
    press(app, "#fuse")
    eventually(app, "document.querySelector('#message progress')")
    processes = served[0].settings.processes
    time.sleep(1)
    ((process,),) = processes._busy.values()
    started = time.monotonic()
    press(app, "#stop")
    said(app, "stopped", SOON)
    while process._process.is_alive():
        assert time.monotonic() - started < SOON * PATIENCE
        time.sleep(0.02)
    tick(app, "average")
    press(app, "#fuse")
    said(app, "fused by 1 method")


def test_four_pages_at_a_time(app, served):
    """One is served, three wait; each gets its own picture."""
    pages = [app.current_window_handle]
    try:
        for _ in range(3):
            app.switch_to.new_window("tab")
            opened(app, served[1])
            pages.append(app.current_window_handle)
        names = ["01_street_day", "03_field_smoke", "07_road_fog", "08_alley_day"]
        samples = served[0].settings.samples
        for page, name in zip(pages, names, strict=True):
            app.switch_to.window(page)
            tick(app, "average")
            bring(app, samples / f"ir/{name}.png", samples / f"vi/{name}.png")
            press(app, "#fuse")
        for page, name in zip(pages, names, strict=True):
            app.switch_to.window(page)
            said(app, "fused by 1 method")
            pair = samples / f"ir/{name}.png", samples / f"vi/{name}.png"
            assert away(shown(app)["average"], fusion.fuse(fusion.load("average"), *pair)) == 0
    finally:
        for page in pages[1:]:
            app.switch_to.window(page)
            app.close()
        app.switch_to.window(pages[0])


def test_nothing_remains_of_a_visit(app, sample, folder):
    tick(app, "average")
    bring(app, *sample("03_field_smoke"))
    press(app, "#fuse")
    said(app, "fused by 1 method")
    assert len(files_in(folder)) > 5
    app.get("about:blank")
    end = time.monotonic() + 10 * PATIENCE
    while files_in(folder):
        assert time.monotonic() < end, files_in(folder)
        time.sleep(0.05)


def test_closing_the_page_stops_its_work(app, served, sample):
    tick(app, "gtf", "fpde", "cddfuse")
    bring(app, *sample("01_street_day"))
    press(app, "#fuse")
    eventually(app, "document.querySelector('#message progress')")
    app.get("about:blank")
    end = time.monotonic() + 5 * PATIENCE
    while served[0].settings.processes._busy:
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no second loopback address")
def test_only_this_machine_is_let_in(served):
    port = int(served[1].rstrip("/").rpartition(":")[2])
    with socket.socket() as other:
        other.bind(("127.0.0.2", port))  # taken, were the app bound to all addresses


def test_fits_a_phone(served, sample):
    with screenshots.chromium(390, 844, dark=True) as phone:
        opened(phone, served[1])
        tick(phone, "average")
        bring(phone, *sample("01_street_day"))
        press(phone, "#fuse")
        said(phone, "fused by 1 method")
        assert phone.execute_script("return document.documentElement.scrollWidth") <= 390


# --- without a browser ----------------------------------------------------------------------------------------------


def test_an_upload_of_two_visitors_goes_with_the_last(tmp_path):
    sessions = Sessions(tmp_path)
    upload = sessions.uploads / "hash/ir.png"
    upload.parent.mkdir()
    upload.write_bytes(b"x")
    elsewhere = tmp_path / "sample.png"
    elsewhere.write_bytes(b"x")
    sessions.brought("a", upload, elsewhere)
    sessions.brought("b", upload)
    made = sessions.folder("a")
    sessions.end("a")
    assert upload.exists()
    assert not made.exists()
    sessions.end("b")
    assert not upload.parent.exists()
    assert elsewhere.exists()


def test_an_upload_that_no_page_knows_of_is_swept(tmp_path):
    sessions = Sessions(tmp_path)
    for name, age in (("old", 100), ("young", 1)):
        (sessions.uploads / name).mkdir()
        (sessions.uploads / name / "ir.png").write_bytes(b"x")
        os.utime(sessions.uploads / name, (time.time() - age,) * 2)
    sessions.end("anybody")
    assert [path.name for path in sessions.uploads.iterdir()] == ["young"]


def test_a_process_that_dies_is_replaced(sample, tmp_path):
    processes = Processes(1, "cpu")
    try:
        ir, vis = sample("01_street_day")
        request = Request(ir, vis, tmp_path, ("average",))
        running = processes.run("a", request)
        next(running)
        (process,) = processes._busy["a"]
        process._process.kill()  # as the system does where memory ends
        *_, last = running
        assert isinstance(last, Failed)
        assert "-9; was there enough memory?" in last.text
        *_, last = processes.run("a", request)
        assert isinstance(last, Answer)
    finally:
        processes.close()


def test_ended_by_the_system_nothing_remains(root, tmp_path):
    command = [sys.executable, str(root / "scripts/app.py")]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as app:
        assert app.stdout.readline().startswith("http://127.0.0.1:")
        assert list(tmp_path.glob("fusion-app-*/uploads"))
        app.terminate()
        assert app.wait(20) == 0
    assert not list(tmp_path.glob("fusion-app-*"))


def test_the_script_says_what_is_wrong(capsys):
    script = load_script("app")
    assert script.main(["--device", "cuda:99"]) == 2
    assert capsys.readouterr().err.startswith("error: device: 'cuda:99' cannot be used here")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert script.main(["--port", str(taken.getsockname()[1])]) == 2
    assert "error: " in capsys.readouterr().err
