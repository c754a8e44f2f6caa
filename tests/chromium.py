"""A real headless Chromium for tests, the one of `scripts/make_screenshots.py`. Its fixtures are in `conftest.py`."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def load_script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


screenshots = load_script("make_screenshots")

missing = screenshots.what_is_missing()
in_browser = pytest.mark.skipif(missing is not None, reason=str(missing))


@pytest.fixture(scope="module")
def one_browser():
    with screenshots.chromium(1280, 900) as driver:
        yield driver


@pytest.fixture
def browser(one_browser):
    """With an empty page and an empty console."""
    one_browser.get("about:blank")
    one_browser.get_log("browser")
    return one_browser


PATIENCE = float(os.environ.get("FUSION_PATIENCE", "1"))
"""How many times longer to wait for a page: for machines that do other work."""


def eventually(browser, condition: str, seconds: float = 10):
    """The value of a JavaScript expression once it is true."""
    end = time.monotonic() + seconds * PATIENCE
    while not (value := browser.execute_script(f"return {condition}")):
        assert time.monotonic() < end, f"never true: {condition}"
        time.sleep(0.02)
    return value


def find(browser, selector: str):
    return browser.find_element("css selector", selector)
