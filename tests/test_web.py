"""The page that fuses in a browser: in a real headless Chromium, opened from disk and from a plain server."""

from __future__ import annotations

import base64
import functools
import http.server
import io
import threading
import zlib

import cv2
import numpy as np
import pytest
from chromium import eventually, find, in_browser, load_script, screenshots
from PIL import Image

from fusion import build, images, infer

pytest.importorskip("onnxscript", reason="exporting needs the extra packages: pip install -e '.[onnx]'")
pytestmark = in_browser

MESSAGE = "document.querySelector('#message').textContent"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, root):
    """The page, made by the script."""
    folder = tmp_path_factory.mktemp("web")
    script = load_script("export_page")
    try:
        runtime = script.fetched(folder)
    except OSError as error:
        pytest.skip(str(error))
    assert script.main(["-o", str(folder / "page"), "--runtime", str(runtime)]) == 0
    return folder / "page"


@pytest.fixture(scope="module")
def server(folder):
    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=folder)) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}/"
        served.shutdown()


def opened(browser, address: str):
    browser.get(address)
    eventually(browser, f"{MESSAGE}.startsWith('Ready')", 30)


@pytest.fixture
def page(browser, folder):
    """Opened from disk; afterwards its console must show no error and nothing must have come from elsewhere."""
    opened(browser, (folder / "index.html").as_uri())
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    addresses = browser.execute_script("return performance.getEntriesByType('resource').map((e) => e.name)")
    assert [a for a in addresses if not a.startswith(("file:", "blob:", "data:"))] == []


def choose(page, kind, path):
    find(page, f"#{kind} input").send_keys(str(path))


def said(page, part: str) -> str:
    return eventually(page, f"{MESSAGE}.includes({part!r}) && {MESSAGE}", 30)


def fused_picture(page) -> np.ndarray:
    url = page.execute_script("return document.querySelector('#fused').toDataURL('image/png')")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB"))


def expected(root, ir, vis) -> np.ndarray:
    fused = infer.fuse(build.network("swift", root / "models/swift_msrs.safetensors"), ir, vis)
    return fused if fused.ndim == 3 else np.repeat(fused[..., None], 3, axis=2)


def away(picture, other) -> int:
    assert picture.shape == other.shape
    return int(np.abs(picture.astype(int) - other).max())


@pytest.mark.parametrize("name", ["01_street_day", "03_field_smoke", "08_alley_day"])
def test_equals_the_programs(page, root, name):
    """Within one gray level: both round a float32 result, in another order."""
    pair = [root / f"test_img/sample/{kind}/{name}.png" for kind in ("ir", "vi")]
    choose(page, "ir", pair[0])
    said(page, "Now the visible picture")
    choose(page, "vis", pair[1])
    said(page, "Fused in")
    assert away(fused_picture(page), expected(root, *pair)) <= 1
    assert find(page, "#download").get_attribute("download") == f"{name}_fused.png"


def test_a_vga_pair_and_its_time(page, root, tmp_path, capsys):
    """The time is printed, not judged: it is the machine's."""
    paths = []
    for side in ("ir", "vi"):
        small = images.read(root / f"test_img/sample/{side}/01_street_day.png")
        paths.append(tmp_path / f"{side}.png")
        images.write(paths[-1], cv2.resize(small, (640, 480), interpolation=cv2.INTER_CUBIC))
    choose(page, "ir", paths[0])
    said(page, "Now the visible picture")
    choose(page, "vis", paths[1])
    times = [float(said(page, "Fused in").split()[2])]
    for _ in range(2):  # there and back
        page.execute_script("document.querySelector('#message').textContent = ''")
        find(page, "#swap").click()
        times.append(float(said(page, "Fused in").split()[2]))
    assert away(fused_picture(page), expected(root, *paths)) <= 1
    provider = page.execute_script("return session.then((s) => s.provider)")
    with capsys.disabled():
        print(f"\n640x480 in Chromium by {provider}: {', '.join(f'{t:.2f}' for t in times)} s")


def test_samples_and_swap(page, root):
    page.execute_script("document.querySelector('#samples button').click()")
    said(page, "Fused in")
    pair = [root / f"test_img/sample/{kind}/02_street_night.png" for kind in ("ir", "vi")]
    assert away(fused_picture(page), expected(root, *pair)) <= 1
    before = fused_picture(page)
    find(page, "#swap").click()
    eventually(page, f"{MESSAGE}.startsWith('Fused in') && !document.querySelector('#result').hidden", 30)
    assert away(fused_picture(page), before) > 1
    assert "vis.png" in find(page, "#ir .hint").text


def test_on_a_server(browser, server, root):
    opened(browser, server)
    browser.execute_script("document.querySelector('#samples button').click()")
    said(browser, "Fused in")
    pair = [root / f"test_img/sample/{kind}/02_street_night.png" for kind in ("ir", "vi")]
    assert away(fused_picture(browser), expected(root, *pair)) <= 1
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_what_is_downloaded_is_what_is_shown(page):
    page.execute_script("document.querySelector('#samples button').click()")
    said(page, "Fused in")
    eventually(page, "document.querySelector('#download').href.startsWith('blob:')")
    data = page.execute_async_script(
        "const done = arguments[0], image = new Image();"
        "image.onload = () => { const pixels = surface(image.width, image.height); pixels.drawImage(image, 0, 0);"
        "  done(pixels.canvas.toDataURL('image/png').split(',')[1]); };"
        "image.src = document.querySelector('#download').href;"
    )
    saved = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
    assert np.array_equal(saved, fused_picture(page))


def png_of(width: int, height: int) -> bytes:
    """A black 1-bit PNG, small on disk however many pixels it has."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return len(data).to_bytes(4, "big") + checked + zlib.crc32(checked).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])
    rows = zlib.compress(bytes((1 + -(-width // 8)) * height), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("text.png", b"no picture", "text.png is no picture that a browser reads"),
        ("bomb.png", png_of(20_000, 10_000), "bomb.png is 20000x10000: more than 13 megapixels"),
        ("small.png", png_of(40, 30), "The infrared picture is 40x30, the visible one "),
    ],
    ids=("text", "bomb", "sizes"),
)
def test_what_cannot_be_fused_is_said(page, root, tmp_path, name, content, line):
    (tmp_path / name).write_bytes(content)
    choose(page, "vis", root / "test_img/sample/vi/01_street_day.png")
    said(page, "Now the infrared picture")
    choose(page, "ir", tmp_path / name)
    assert said(page, line)
    assert not page.execute_script("return !document.querySelector('#result').hidden")
    choose(page, "ir", root / "test_img/sample/ir/01_street_day.png")  # and the page goes on
    said(page, "Fused in")


@pytest.mark.parametrize(
    ("picture", "note"),
    [
        ((7000 + 8 * np.arange(256 * 3).reshape(24, 32) // 3).astype(np.uint16), "raw thermal counts"),
        ((257 * (np.arange(24 * 32) % 256).reshape(24, 32)).astype(np.uint16), "has 16 bits"),
        ((np.arange(24 * 32) % 251).reshape(24, 32).astype(np.uint8), "both pictures are the same"),
    ],
)
def test_what_makes_a_result_doubtful_is_said(page, tmp_path, picture, note):
    images.write(tmp_path / "ir.png", picture)
    images.write(tmp_path / "vis.png", (np.arange(24 * 32) % 251).reshape(24, 32).astype(np.uint8))
    choose(page, "ir", tmp_path / "ir.png")
    said(page, "Now the visible")
    choose(page, "vis", tmp_path / "vis.png")
    assert note in said(page, "Fused in")


def test_a_picture_stands_upright(page, root, tmp_path):
    """A JPEG that says it lies on its side is fused as every viewer shows it."""
    upright = np.asarray(Image.open(root / "test_img/sample/vi/01_street_day.png"))
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.rot90(upright)).save(tmp_path / "vis.jpg", exif=exif, quality=100, subsampling=0)
    choose(page, "ir", root / "test_img/sample/ir/01_street_day.png")
    said(page, "Now the visible picture")
    choose(page, "vis", tmp_path / "vis.jpg")
    said(page, "Fused in")
    difference = fused_picture(page).astype(int) - expected(
        root, root / "test_img/sample/ir/01_street_day.png", upright
    )
    assert np.abs(difference).mean() < 3  # JPEG


def test_fits_a_phone(folder):
    with screenshots.chromium(390, 844, dark=True) as phone:
        opened(phone, (folder / "index.html").as_uri())
        phone.execute_script("document.querySelector('#samples button').click()")
        said(phone, "Fused in")
        assert phone.execute_script("return document.documentElement.scrollWidth") <= 390


def test_is_small_enough_to_send(folder):
    assert sum(file.stat().st_size for file in folder.iterdir()) < 15e6


def test_the_script_says_what_is_missing(tmp_path, capsys):
    assert load_script("export_page").main(["-o", str(tmp_path / "web"), "--runtime", str(tmp_path)]) == 2
    assert "lacks ort.wasm.min.js: expected dist of onnxruntime-web" in capsys.readouterr().err
    assert not (tmp_path / "web").exists()
