"""Every program prints whatever names it meets, in any encoding of its output."""

import io
import re
import runpy
import sys
from pathlib import Path

import pytest

from fusion import command
from fusion.terminal import forgive_encodings


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "cp437"])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_what_an_encoding_lacks_is_replaced(monkeypatch, encoding, stream):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, stream, io.TextIOWrapper(raw, encoding=encoding))
    text = "融合/图.png ↑"
    with pytest.raises(UnicodeEncodeError):
        print(text, file=getattr(sys, stream))
    forgive_encodings()
    print(text, file=getattr(sys, stream), flush=True)
    assert raw.getvalue().decode(encoding).splitlines() == ["??/?.png ?"]


def test_a_stream_without_an_encoding_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    forgive_encodings()


def test_every_program_calls_it(root):
    """Those that name users' files; the two that only draw this project's own pictures need not."""
    own = {"make_samples.py", "make_screenshots.py", "metric_docs.py"}
    programs = [*root.glob("*.py"), *(root / "scripts").glob("*.py")]
    mains = [
        p for p in programs if re.search(r"^def main\(", p.read_text(encoding="utf-8"), re.M) and p.name not in own
    ]
    assert len(mains) >= 12
    assert [p.name for p in mains if "    forgive_encodings()" not in p.read_text(encoding="utf-8")] == []


# --- a machine without a desktop -------------------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parents[1]
WITHOUT_OPENCV = {"make_screenshots.py", "metric_docs.py", "onnx_weights.py"}
PROGRAMS = [p for p in (*ROOT.glob("*.py"), *(ROOT / "scripts").glob("*.py")) if p.name not in {"setup.py"}]
PROGRAMS = [p for p in PROGRAMS if p.name not in WITHOUT_OPENCV]
NO_LIBRARY = "{}: cannot open shared object file: No such file or directory"
ONE_LINE = r"error: OpenCV is needed and cannot be imported \({}\): {}pip install opencv-python-headless\n"


@pytest.fixture
def broken(monkeypatch, tmp_path):
    """Makes `import cv2` fail with this line, as in a process that has imported nothing yet."""

    def fail(line: str) -> None:
        (tmp_path / "cv2.py").write_text(line)
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        monkeypatch.delitem(sys.modules, "cv2", raising=False)

    yield fail
    sys.modules.pop("cv2", None)  # the broken one, before the real one comes back


def end_of(start, capsys) -> str:
    with pytest.raises(SystemExit) as end:
        start()
    assert end.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_a_program_says_so_in_one_line(program, broken, capsys):
    missing = NO_LIBRARY.format("libGL.so.1")
    broken(f"raise ImportError({missing!r})")
    said = end_of(lambda: runpy.run_path(str(program), run_name="__main__"), capsys)
    assert re.fullmatch(ONE_LINE.format(re.escape(missing), "pip uninstall opencv-python; "), said)


@pytest.mark.parametrize(
    ("line", "reason", "first"),
    [
        ("import numpy.no_such_part", "No module named 'numpy.no_such_part'", ""),
        ("raise ImportError('numpy.core.multiarray failed to import')", "numpy.core.multiarray failed to import", None),
        (
            f"raise ImportError({NO_LIBRARY.format('libgthread-2.0.so.0')!r})",
            NO_LIBRARY.format("libgthread-2.0.so.0"),
            None,
        ),
    ],
)
def test_the_console_program_does_too(line, reason, first, broken, capsys, monkeypatch):
    broken(line)
    monkeypatch.setattr(sys, "argv", ["irvis", "fuse", "--help"])
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    said = end_of(command.main, capsys)
    first = "pip uninstall opencv-python; " if first is None else first
    assert re.fullmatch(ONE_LINE.format(re.escape(reason), first), said)
