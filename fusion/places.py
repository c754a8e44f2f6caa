"""Where the files lie that come with the code: in a checkout beside this package, in an installed one inside of it."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent


def models() -> Path:
    """The shipped weights."""
    installed = PACKAGE / "pretrained"
    return installed if installed.is_dir() else PACKAGE.parent / "models"


def programs() -> Path:
    """train.py, test.py, scripts/ and configs/."""
    installed = PACKAGE / "programs"
    return installed if installed.is_dir() else PACKAGE.parent


def home() -> Path:
    """What `data/`, `test_img/` and `runs/` stand in: the checkout, or the present folder of an installed package."""
    return Path() if programs().parent == PACKAGE else programs()
