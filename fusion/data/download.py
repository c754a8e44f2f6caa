"""Downloading one file over HTTP so that a cut connection, Ctrl-C or a full disk costs nothing that has come.

What has come stands in NAME.part, where it is from in NAME.part.json; the next attempt asks for the rest (Range, and
If-Range with the server's validator, RFC 9110 sections 13 and 14), and begins again where the server sends the whole
file anyway. Standard library only.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

PATIENCE = 60  # seconds without a byte
PAUSE = 2.0  # seconds before the second attempt, doubled each time up to a minute
CHUNK = 1 << 18  # bytes


class DownloadError(Exception):
    """One line for a person: what happened and what to do."""


def download(url: str, path: Path, retries: int = 5) -> Path:
    """Fetch `url` into `path` + .part and return that, complete. A part of an earlier attempt is continued.

    Raises DownloadError after `retries` further attempts that brought nothing, and at once where the server says no.
    """
    part, origin = path.with_name(path.name + ".part"), path.with_name(path.name + ".part.json")
    if not url.startswith(("https://", "http://")):
        raise DownloadError(f"{url}: expected an http(s) address")
    with disk(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        if read_json(origin).get("url") != url:
            part.unlink(missing_ok=True)
    idle, reason, most = 0, "", size(part)
    with tqdm(unit="B", unit_scale=True, unit_divisor=1024, desc=path.name, disable=None) as bar:
        while idle <= retries:
            if idle:
                time.sleep(min(60.0, PAUSE * 2 ** (idle - 1)))
            try:
                if attempt(url, part, origin, bar):
                    with disk(origin):
                        origin.unlink(missing_ok=True)
                    return part
                reason = "the connection was cut"
            except urllib.error.HTTPError as error:
                if error.code < 500 and error.code not in (408, 429):
                    raise DownloadError(f"{url}: the server says {error.code} {error.reason}") from None
                reason = f"the server says {error.code} {error.reason}"
            except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
                reason = str(getattr(error, "reason", None) or error or type(error).__name__)
            # Further than ever, not than last time: a server that always begins again must not be asked for ever.
            idle, most = (1, size(part)) if size(part) > most else (idle + 1, most)
    kept = f"; {size(part) / 2**20:.1f} MiB are kept, the same command continues" if size(part) else ""
    raise DownloadError(f"cannot fetch {url}: {reason}{kept}")


def attempt(url: str, part: Path, origin: Path, bar: tqdm) -> bool:
    """Read on where `part` ends; whether it is whole then."""
    have = size(part)
    headers = {"User-Agent": "get_data.py", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator := read_json(origin).get("validator"):
            headers["If-Range"] = validator  # a changed file comes from its beginning
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        if have and have == total_of(error.headers.get("Content-Range")):
            return True  # it was whole already
        with disk(part):
            part.unlink(missing_ok=True)
        return False
    with answer:
        start = have if have and starts_at(answer, have) else 0
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length and length.isdigit() else None
        etag = answer.headers.get("ETag", "")
        validator = etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")
        bar.total, bar.n = total, start
        with disk(part):
            origin.write_text(json.dumps({"url": url, "validator": validator}))
            file = part.open("ab" if start else "wb")
        with disk(part), file:
            for chunk in chunks(answer):
                file.write(chunk)
                bar.update(len(chunk))
    return total is None or size(part) == total


def chunks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The body piece by piece; trouble of the network leaves as what `disk` does not take for its own."""
    while True:
        try:
            chunk = answer.read1(CHUNK)
        except OSError as error:
            raise http.client.HTTPException(str(error) or type(error).__name__) from error
        if not chunk:
            return
        yield chunk


def starts_at(answer: http.client.HTTPResponse, have: int) -> bool:
    """Whether this is the rest that was asked for, and not the whole file."""
    return answer.status == 206 and (answer.headers.get("Content-Range") or "").startswith(f"bytes {have}-")


def total_of(content_range: str | None) -> int | None:
    total = (content_range or "").rpartition("/")[2]
    return int(total) if total.isdigit() else None


def size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def read_json(path: Path) -> dict:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """What the disk refuses becomes a line."""
    try:
        yield
    except OSError as error:
        raise DownloadError(f"cannot write {path}: {error.strerror or error}; the same command continues") from None
