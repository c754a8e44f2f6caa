"""Fuse pictures on a page in the browser, served from this machine.

    python scripts/app.py [--host 127.0.0.1] [--port 7860] [--at-a-time 1] [--max-upload 64] [--max-pixels 13e6]

Drop an infrared and a visible picture, choose methods, compare the results with a slider, look at scores, download.
What is brought is deleted when the page is closed, and all of it when the program ends. Nothing leaves this machine.
Needs the extra packages: pip install -e '.[app]'. Exit status: 0 after Ctrl-C, 2 where nothing could start.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not

from fusion.terminal import need_opencv

if __name__ == "__main__":
    need_opencv()  # or end in one line

from fusion.terminal import forgive_encodings

ENDED = threading.Event()


def main(arguments: list[str] | None = None) -> int:
    forgive_encodings()
    args = parse(arguments)
    with tempfile.TemporaryDirectory(prefix="fusion-app-", ignore_cleanup_errors=True) as folder:
        try:
            page, address = start(args, Path(folder))
        except (ValueError, OSError, ImportError) as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        print(f"{address}  (Ctrl-C ends it)", flush=True)
        ENDED.wait()
        close(page)
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0: let others in (default: %(default)s)")
    parser.add_argument("--port", type=int, help="default: the first free one from 7860")
    parser.add_argument("--at-a-time", type=int, default=1, metavar="N", help="others wait (default: %(default)s)")
    parser.add_argument("--max-upload", type=float, default=64, metavar="MIB", help="of a file (default: %(default)s)")
    parser.add_argument("--max-pixels", type=float, default=13e6, metavar="N", help="of a picture (default: 13e6)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default: %(default)s)")
    return parser.parse_args(arguments)


def start(args: argparse.Namespace, folder: Path):
    """(page, address) of a served page that keeps its files in `folder`.

    Raises ValueError for a device that is not there, OSError for a port that is taken, ImportError without Gradio.
    """
    from fusion import build, places
    from fusion.app.processes import Processes
    from fusion.app.sessions import Sessions

    if args.at_a_time < 1:
        raise ValueError(f"--at-a-time {args.at_a_time}: expected 1 or more")
    build.device(args.device)
    sessions = Sessions(folder)
    local = {name for name in os.environ.get("NO_PROXY", "").split(",") if name} | {"127.0.0.1", "localhost"}
    os.environ.update(
        GRADIO_TEMP_DIR=str(sessions.uploads),
        GRADIO_ANALYTICS_ENABLED="False",
        HF_HUB_DISABLE_TELEMETRY="1",
        NO_PROXY=",".join(sorted(local)),  # Gradio asks its own server whether it is up
    )
    try:
        from fusion.app import interface
    except ImportError as error:
        raise ImportError(f"the app needs Gradio ({error}): pip install -e '.[app]'") from error
    samples = places.home() / "test_img/sample"
    processes = Processes(args.at_a_time, args.device)
    known = samples if (samples / "ir").is_dir() else None
    page = interface.Page(interface.Settings(sessions, processes, known, args.max_pixels, args.at_a_time))
    try:
        return page, interface.launch(page, args.host, args.port, args.max_upload)
    except OSError:
        processes.close()
        raise


def close(page) -> None:
    page.settings.processes.close()
    page.blocks.close(verbose=False)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):  # not by an exception, which may be lost in a library's import
        signal.signal(number, lambda *_: ENDED.set())
    sys.exit(main())
