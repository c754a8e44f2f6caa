"""Fixtures of all tests. Reference data lies outside the project; tests that need it are skipped where it is not."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest
import torch
from chromium import browser, one_browser  # noqa: F401 -- fixtures

ROOT = Path(__file__).resolve().parents[1]
# To compile loops takes a minute: that is done where they are tested (`compiled_loops`), elsewhere PyTorch computes.
os.environ.setdefault("FUSION_LOOPS", "off")


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data: $FUSION_SHARED, or `shared` beside the project."""
    folder = Path(os.environ.get("FUSION_SHARED", ROOT.parent / "shared"))
    if not (folder / "golden").is_dir():
        pytest.skip(f"no reference data: {folder} holds no golden/ (set FUSION_SHARED)")
    return folder


@pytest.fixture(autouse=True)
def same_numbers():
    """Every test draws the same random numbers, whichever ran before it and on whichever worker."""
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def compiled_loops():
    """Compiled before the first picture, so that all are rounded alike. Files that use this belong into TOGETHER."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUSION_LOOPS", "wait")
        yield


@pytest.fixture
def upright_views(monkeypatch):
    """For tests of what becomes of an alignment: no rotations are searched, a seventh of the work."""
    from fusion.data import alignment, view_search

    monkeypatch.setattr(alignment, "search", functools.partial(view_search.search, angles=(0.0,)))


# --- who runs what ---------------------------------------------------------------------------------------------------

TOGETHER = {  # the first tests of a process pay for what the others use
    **dict.fromkeys(
        ("tests/inference/", "tests/networks/test_cddfuse_golden.py", "tests/networks/test_ship_golden.py"),
        "compiled loops: two processes would compile the same ones",
    ),
    "tests/training/": "training: long ones in files of few tests, which would come last",
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """`--dist loadfile`, which hands out files by their number of tests, the most first; some files go together."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Files(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return next((why for start, why in TOGETHER.items() if file.startswith(start)), file)

    return Files(config, log)


# --- how many tests need what is not in the repository ---------------------------------------------------------------


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker("shared")
        if item.get_closest_marker("cuda") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="PyTorch sees no GPU"))


def pytest_terminal_summary(terminalreporter) -> None:
    """The closing sentence; in the process that people see, whose reports carry each test's markers."""
    needed = [r for r in terminalreporter.getreports("skipped") if r.when == "setup" and "shared" in r.keywords]
    if needed:
        terminalreporter.write_line(
            f"{len(needed)} tests were skipped because they compare with other people's pictures and weights, which "
            "this project may not give away (set FUSION_SHARED to a folder that holds them)."
        )
