"""What a program prints: never the reason for its end, and one line where it cannot begin."""

from __future__ import annotations

import sys


def forgive_encodings() -> None:
    """Let stdout and stderr replace what their encoding lacks (Chinese names under cp1252) instead of raising.

    Every program calls this once, at its start; importing the library never does.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def need_opencv() -> None:
    """End the program in one line where OpenCV cannot be imported: on servers, whose desktop libraries are missing.

    Every program calls this before it imports what needs OpenCV; importing the library never does.
    """
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        uninstall = "" if isinstance(error, ModuleNotFoundError) else "pip uninstall opencv-python; "
        remedy = f"{uninstall}pip install opencv-python-headless"
        print(f"error: OpenCV is needed and cannot be imported ({error}): {remedy}", file=sys.stderr)
        sys.exit(2)
