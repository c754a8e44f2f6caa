"""Every program prints whatever names it meets, in any encoding of its output."""

import io
import re
import sys

import pytest

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
