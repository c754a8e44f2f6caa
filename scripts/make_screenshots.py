"""Take the README's pictures of a result page and of the app: docs/page*.png, docs/app*.png.

    python scripts/make_screenshots.py [RESULTS] [-o docs]

RESULTS is a folder that test.py wrote; without one, the sample pairs are compared first (configs/demo.yml, into a
temporary folder). Needs Chromium and its driver (`apt install chromium chromium-driver`), selenium, and Gradio.
Exit status: 0, 2 where that is missing or a picture cannot be written.
"""

from __future__ import annotations

import argparse
import base64
import io
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 400_000  # bytes of a PNG


@dataclass(frozen=True)
class Shot:
    """A picture: the window it is taken in, in CSS pixels, and what is done on the page before."""

    name: str
    width: int
    height: int
    dark: bool = False
    script: str = ""


SHOTS = (
    Shot("page.png", 1360, 1265, script="change({metric: 5, order: 'best', image: 0}); moveSplit(0.52)"),
    Shot("page_difference.png", 1360, 960, dark=True, script="change({a: 2, b: 0, mode: 'difference'}); step(3)"),
    Shot("page_charts.png", 1360, 900, script="$('#boxes').scrollIntoView()"),
    Shot("page_phone.png", 390, 844, script="$('#browser').scrollIntoView(); zoomBy(2, [0.6, 0.6]); moveSplit(0.4)"),
)

APP_SHOTS = (
    Shot("app.png", 1240, 1645),
    Shot("app_phone.png", 390, 844, dark=True, script="document.querySelector('#left').scrollIntoView()"),
)
SAMPLE = "04_harbour_dusk"

COLOURS = """
const known = [...document.querySelectorAll(".swatch")].map((swatch) => getComputedStyle(swatch).backgroundColor);
const page = getComputedStyle(document.documentElement);
return [...new Set([...known, page.color, page.backgroundColor])];
"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Take pictures of a result page and of the app.")
    parser.add_argument("results", nargs="?", type=Path, help="a folder that test.py wrote (default: made anew)")
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "docs", help="default: %(default)s")
    args = parser.parse_args(arguments)
    if missing := what_is_missing():
        print(f"error: {missing}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder, served_app(Path(folder) / "app") as app:
        page = (args.results or compare_samples(Path(folder) / "demo")) / "index.html"
        shots = [(shot, page.resolve().as_uri()) for shot in SHOTS] + [(shot, app) for shot in APP_SHOTS]
        for shot, address in shots:
            path = args.out / shot.name
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(take(shot, address))
            except OSError as error:
                print(f"error: cannot write {path}: {error.strerror}", file=sys.stderr)
                return 2
            print(f"{path}: {path.stat().st_size // 1000} kB")
    return 0


@contextmanager
def served_app(folder: Path):
    """The address of the app."""
    sys.path.insert(0, str(ROOT / "scripts"))
    import app

    page, address = app.start(app.parse([]), folder)
    try:
        yield address
    finally:
        app.close(page)


def fuse_sample(browser) -> None:
    """Bring a sample pair to the app and fuse it."""

    def wait(condition: str) -> None:
        end = time.monotonic() + 600
        while not browser.execute_script(f"return {condition}"):
            if time.monotonic() > end:
                raise OSError(0, f"the app never came to {condition}")
            time.sleep(0.1)

    for side, folder in (("ir", "ir"), ("vis", "vi")):
        field = f"#{side}-file input[type=file]"
        wait(f"document.querySelector('{field}')")
        browser.find_element("css selector", field).send_keys(str(ROOT / f"test_img/sample/{folder}/{SAMPLE}.png"))
        wait(f"document.querySelector('#{side}-file .file-preview')")
    wait("document.querySelector('#findings')?.innerText")
    for _ in range(2):  # the first time makes the methods ready, and the times shown are to be the usual ones
        picture = "document.querySelector('#slider img')?.src"
        browser.execute_script(f"window.before = {picture}; document.querySelector('#fuse').click()")
        wait(f"{picture} !== window.before")


def compare_samples(out: Path) -> Path:
    """Run test.py on the sample pairs; returns its folder."""
    command = [sys.executable, ROOT / "test.py", "-opt", "configs/demo.yml", f"out={out}"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return out


def take(shot: Shot, address: str) -> bytes:
    """A PNG of at most LARGEST bytes, twice as dense as the window where that fits."""
    for scale, colours in ((2, 256), (1.5, 256), (1, 256), (1, 64)):
        with chromium(shot.width, shot.height, dark=shot.dark, scale=scale) as browser:
            browser.get(address)
            if shot in APP_SHOTS:
                fuse_sample(browser)
            browser.execute_script(shot.script)
            time.sleep(1.5)  # pictures decode, charts are drawn when the browser has nothing else to do
            keep = browser.execute_script(COLOURS)
            png = smaller(base64.b64decode(browser.get_screenshot_as_base64()), colours, keep)
        if len(png) <= LARGEST:
            break
    return png


def smaller(png: bytes, colours: int, keep: list[str]) -> bytes:
    """The same picture with a palette, in which the colours `keep`, "rgb(1, 2, 3)", have a place however rare."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    palette = image.quantize(colours - len(keep)).getpalette()[: 3 * (colours - len(keep))]
    for colour in keep:
        palette += map(int, re.findall(r"\d+", colour)[:3])
    carrier = Image.new("P", (1, 1))
    carrier.putpalette(palette)
    reduced = image.quantize(palette=carrier, dither=Image.Dither.FLOYDSTEINBERG)
    buffer = io.BytesIO()
    reduced.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


# --- Chromium -------------------------------------------------------------------------------------------------------

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = (
    "--headless",
    "--no-sandbox",  # containers run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",  # containers keep it small
    "--hide-scrollbars",
)


def what_is_missing() -> str | None:
    """Why there can be no browser here, or None."""
    if not any(map(shutil.which, PROGRAMS)) or not shutil.which("chromedriver"):
        return "Chromium or its driver is not installed (apt install chromium chromium-driver)"
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed (pip install selenium)"
    return None


@contextmanager
def chromium(width: int, height: int, *, dark: bool = False, scale: float = 1):
    """A headless browser with a new, empty profile and its console kept; a selenium driver. Nothing is fetched."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = next(filter(None, map(shutil.which, PROGRAMS)))
        for switch in (*SWITCHES, f"--user-data-dir={profile}"):
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        # Naming the driver keeps selenium from looking for one on the internet.
        browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [theme]})
            yield browser
        finally:
            browser.quit()


if __name__ == "__main__":
    sys.exit(main())
