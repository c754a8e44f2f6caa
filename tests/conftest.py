"""Fixtures of all tests. Reference data lies outside the project; tests that need it are skipped where it is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from chromium import browser, one_browser  # noqa: F401 -- fixtures

ROOT = Path(__file__).resolve().parents[1]


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
