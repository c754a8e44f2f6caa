"""scripts/get_data.py against a server on this machine: cut connections, checksums, full disks, Ctrl-C."""

import hashlib
import http.server
import importlib.util
import io
import os
import shutil
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

import fusion.networks  # noqa: F401 -- registers the networks
from fusion.data import download
from fusion.registry import NETWORKS

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "get_data.py"


@pytest.fixture(scope="module")
def get_data():
    spec = importlib.util.spec_from_file_location("get_data", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def packed():
    """An archive as GitHub packs it: one outer folder, more in it than is wanted. Does not compress."""
    random, buffer = np.random.default_rng(0), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for kind in ("ir", "vi"):
            for name in "abc":
                archive.writestr(f"Repo-1a2b/sets/One/{kind}/{name}.png", random.bytes(100_000))
                archive.writestr(f"Repo-1a2b/train/{kind}/{name}.png", random.bytes(10_000))
        archive.writestr("Repo-1a2b/train/labels/a.png", b"no pair's")
        archive.writestr("Repo-1a2b/sets/One/readme.md", b"no picture")
        archive.writestr("Repo-1a2b/sets/OneMore/ir/a.png", b"another set's")
        archive.writestr("Repo-1a2b/sets/One/../../escaped.png", b"not to be written")
    return buffer.getvalue()


PACKED = packed()
WHOLE = hashlib.sha256(PACKED).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves `body`; `cuts` lists after how many bytes to drop the next connections, `ranges` allows resuming."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.cuts, self.ranges, self.status, self.chunked = PACKED, [], True, 200, False
        self.asked, self.etag = [], '"v1"'
        self.url = f"http://127.0.0.1:{self.server_port}/archive.zip"

    def handle_error(self, *_):
        """A client that hangs up early is what these tests are about: no traceback on the stderr they read."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        if server.status != 200:
            self.send_error(server.status)
            return
        start = 0
        if wanted and server.ranges and self.headers.get("If-Range", server.etag) == server.etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(server.body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("ETag", server.etag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.body) - 1}/{len(server.body)}")
        body = server.body[start:]
        if server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = server.cuts.pop(0) if server.cuts else len(body)
        for at in range(0, min(cut, len(body)), 20_000):
            piece = body[at : min(at + 20_000, cut)]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if server.chunked else piece)
        if cut >= len(body) and server.chunked:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(get_data, server, tmp_path, monkeypatch, capsys):
    """run(*arguments, sha256=..., **of the one set) -> status, stdout, stderr; everything goes below tmp_path/out."""
    monkeypatch.setattr(download, "PAUSE", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments, sha256=None, **part):
        table = {
            "archives": {"repo": {"url": server.url, "sha256": sha256, "by_hand": "git clone somewhere"}},
            "sets": {
                "One": {"about": "one", "archive": "repo", "folders": [{"inside": "sets/One", "to": "no", **part}]},
                "Two": {
                    "about": "two",
                    "archive": "repo",
                    "folders": [
                        {"inside": "train", "to": "no", "only": ["ir", "vi"]},
                        {"inside": "sets/One", "to": "no"},
                    ],
                },
                "Shy": {"about": "shy", "manual": "Ask the authors\n  kindly."},
            },
            "weights": {
                "net": {
                    "site": server.url.rpartition("/")[0],
                    "repository": "them/net",
                    "commit": "1a2b",
                    "licence": "none stated",
                    "files": [{"path": "x/net++.pt", "bytes": len(PACKED), "sha256": sha256}],
                }
            },
        }
        (tmp_path / "sources.yml").write_text(yaml.safe_dump(table))
        fixed = ["-o", str(tmp_path / "out"), "--sources", str(tmp_path / "sources.yml"), "--retries", "2"]
        status = get_data.main([*arguments, *fixed])
        out = capsys.readouterr()
        return status, out.out, out.err

    return run


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


PICTURES = [f"{kind}/{name}.png" for kind in ("ir", "vi") for name in "abc"]


def test_a_set_is_fetched_once(run, server, tmp_path):
    status, out, err = run("One", sha256=WHOLE)
    assert (status, err) == (0, "")
    assert "6 pictures" in out
    assert files(tmp_path / "out") == [f"One/{p}" for p in PICTURES]  # and no archive is left
    assert run("One", sha256=WHOLE)[:2] == (0, f"One: {tmp_path / 'out' / 'One'} is here already: nothing to do\n")
    assert server.asked == [None]


def test_two_sets_share_one_download(run, server, tmp_path):
    assert run("One", "Two", "--keep", sha256=WHOLE)[0] == 0
    assert server.asked == [None]
    assert files(tmp_path / "out" / "Two") == [f"One/{p}" for p in PICTURES] + [f"train/{p}" for p in PICTURES]
    assert files(tmp_path / "out" / ".downloads") == ["repo.zip"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_cut_connection_is_taken_up_again(run, server, tmp_path, chunked):
    server.cuts, server.chunked = [150_000, 0, 70_000], chunked
    status, _, err = run("One", sha256=WHOLE)
    assert (status, err) == (0, "")
    assert server.asked[0] is None
    resumed = [int(a.removeprefix("bytes=").rstrip("-")) for a in server.asked[1:]]
    assert len(resumed) == 3
    assert 0 < resumed[0] == resumed[1] < resumed[2]  # every byte was sent once
    assert resumed[2] >= 200_000


def test_without_range_it_begins_again(run, server):
    server.cuts, server.ranges = [150_000], False
    assert run("One", sha256=WHOLE)[0] == 0
    assert server.asked == [None, "bytes=150000-"]


def test_a_server_that_always_cuts_is_given_up(run, server, tmp_path):
    server.cuts, server.ranges = [150_000, 100_000, 150_000, 120_000, 140_000], False
    status, _, err = run("One", sha256=WHOLE)
    assert status == 1
    assert len(server.asked) == 3  # never further than the first time: 2 retries
    assert err.count("\n") == 1
    assert "the connection was cut" in err
    assert "by hand: git clone somewhere, then copy sets/One" in err


def test_the_same_command_continues(run, server, tmp_path):
    server.cuts = [150_000, 0, 0]
    status, _, err = run("One", sha256=WHOLE)
    assert status == 1
    assert "0.1 MiB are kept, the same command continues" in err
    server.asked.clear()
    assert run("One", sha256=WHOLE)[0] == 0
    assert server.asked == ["bytes=150000-"]


def test_a_changed_source_comes_from_its_beginning(run, server):
    server.cuts = [150_000, 0, 0]
    assert run("One", sha256=WHOLE)[0] == 1
    server.etag = '"v2"'
    assert run("One", sha256=WHOLE)[0] == 0


def test_a_part_that_is_whole_already_is_taken(run, server, tmp_path):
    folder = tmp_path / "out" / ".downloads"
    folder.mkdir(parents=True)
    (folder / "repo.zip.part").write_bytes(PACKED)
    (folder / "repo.zip.part.json").write_text(f'{{"url": "{server.url}"}}')
    assert run("One", sha256=WHOLE)[0] == 0
    assert server.asked == [f"bytes={len(PACKED)}-"]


def test_a_part_of_another_address_is_not_continued(run, server, tmp_path):
    folder = tmp_path / "out" / ".downloads"
    folder.mkdir(parents=True)
    (folder / "repo.zip.part").write_bytes(b"x" * 1000)
    (folder / "repo.zip.part.json").write_text('{"url": "http://elsewhere/a.zip"}')
    assert run("One", sha256=WHOLE)[0] == 0
    assert server.asked == [None]


def test_a_wrong_checksum_is_refused(run, tmp_path):
    status, _, err = run("One", sha256="0" * 64)
    assert status == 1
    assert "the checksum is wrong" in err
    assert err.count("\n") == 1
    assert files(tmp_path / "out") == [".downloads/repo.refused"]  # kept aside, nothing unpacked


def test_an_unknown_checksum_is_recorded_and_held_to(run, server, tmp_path):
    status, out, _ = run("One")
    assert status == 0
    assert f"SHA-256 {WHOLE} recorded" in out
    record = tmp_path / "out" / ".downloads" / "repo.zip.sha256"
    assert record.read_text().startswith(WHOLE)
    shutil.rmtree(tmp_path / "out" / "One")
    assert run("One")[0] == 0  # agrees
    shutil.rmtree(tmp_path / "out" / "One")
    server.body = PACKED + b"\0"
    status, _, err = run("One")
    assert status == 1
    assert str(record) in err


def test_a_damaged_archive_on_disk_is_fetched_again(run, tmp_path):
    assert run("One", "--keep", sha256=WHOLE)[0] == 0
    shutil.rmtree(tmp_path / "out" / "One")
    (tmp_path / "out" / ".downloads" / "repo.zip").write_bytes(PACKED[:-100])
    status, _, err = run("One", sha256=WHOLE)
    assert status == 1
    assert "the same command fetches it again" in err
    assert run("One", sha256=WHOLE)[0] == 0


@pytest.mark.parametrize(("status", "times"), [(404, 1), (403, 1), (503, 3)])
def test_the_server_says_no(run, server, status, times):
    server.status = status
    exit_status, _, err = run("One")
    assert exit_status == 1
    assert f"the server says {status}" in err
    assert len(server.asked) == times


def test_a_page_instead_of_an_archive(run, server, tmp_path):
    server.body = b"<html>please log in</html>"
    status, _, err = run("One")
    assert status == 1
    assert "no zip archive" in err
    assert files(tmp_path / "out") == []


def test_no_server(run, server):
    server.url = "http://127.0.0.1:9/archive.zip"
    status, _, err = run("One")
    assert status == 1
    assert "cannot fetch http://127.0.0.1:9/archive.zip: " in err
    assert err.count("\n") == 1


def test_a_full_disk_is_one_line_and_what_came_stays(run, server, tmp_path, monkeypatch):
    real = Path.open

    class Full(io.FileIO):
        written = 0

        def write(self, data):
            if self.tell() + len(data) > 200_000:
                raise OSError(28, os.strerror(28))
            return super().write(data)

    def opened(path, mode="r", *rest, **more):
        return (
            Full(path, mode)
            if path.name.endswith(".part") and "b" in mode and "r" not in mode
            else real(path, mode, *rest, **more)
        )

    monkeypatch.setattr(Path, "open", opened)
    status, _, err = run("One", sha256=WHOLE)
    assert status == 1
    assert "No space left on device" in err
    assert err.count("\n") == 1
    monkeypatch.setattr(Path, "open", real)
    assert run("One", sha256=WHOLE)[0] == 0
    assert server.asked[1].startswith("bytes=")


def test_a_folder_that_cannot_be_written_is_one_line(run, tmp_path):
    (tmp_path / "out").write_text("a file where a folder should be")
    status, _, err = run("One", sha256=WHOLE)
    assert status == 1
    assert err.startswith("get_data: One: cannot write ")
    assert err.count("\n") == 1


def test_ctrl_c_keeps_what_came(run, server, tmp_path, monkeypatch):
    def interrupted(answer):
        yield answer.read(50_000)
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "chunks", interrupted)
    status, _, err = run("One", sha256=WHOLE)
    assert (status, err.count("\n")) == (130, 1)
    assert "the same command continues" in err
    monkeypatch.undo()
    monkeypatch.setattr(download, "PAUSE", 0.0)
    assert run("One", sha256=WHOLE)[0] == 0
    assert server.asked == [None, "bytes=50000-"]


def test_ctrl_c_while_unpacking_leaves_no_half_set(run, server, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", interrupted)
        assert run("One", sha256=WHOLE)[0] == 130
    assert files(tmp_path / "out") == [".downloads/repo.zip"]
    assert run("One", sha256=WHOLE)[0] == 0
    assert server.asked == [None]


def test_what_arrived_is_compared_with_what_was_expected(run, get_data, tmp_path):
    assert "where 8 were expected" in run("One", sha256=WHOLE, pictures=8)[1]
    known = get_data.digest(tmp_path / "out" / "One")
    for digest, words in ((known, "the very files"), ("0" * 64, "not the files")):
        shutil.rmtree(tmp_path / "out" / "One")
        assert words in run("One", sha256=WHOLE, pictures=6, digest=digest)[1]


def test_the_archive_lacks_the_set(run):
    status, _, err = run("One", sha256=WHOLE, inside="elsewhere")
    assert status == 1
    assert "holds no pictures below elsewhere" in err


def test_what_no_program_may_fetch_is_explained(run, server):
    assert run("Shy") == (0, "Shy: Ask the authors kindly.\n", "")
    assert server.asked == []


def test_without_a_name_the_sets_are_listed(run):
    status, out, _ = run()
    assert status == 0
    assert [line.split()[:2] for line in out.splitlines()[:3]] == [["One", "to"], ["Shy", "by"], ["Two", "to"]]


def test_an_unknown_name_gets_a_hint(run):
    status, _, err = run("Onee")
    known = "Known: One, Shy, Two, net. Did you mean 'One'?"
    assert (status, err) == (2, f"get_data: no data set or weights named 'Onee'. {known}\n")


def test_the_real_table_is_sound(get_data):
    sources = yaml.safe_load((SCRIPT.parent / "data_sources.yml").read_text())
    assert {"TNO", "RoadScene", "MSRS", "M3FD", "LLVIP"} <= set(sources["sets"])
    for name, entry in sources["sets"].items():
        assert entry["about"]
        if "manual" in entry:
            assert ".com/" in entry["manual"] or ".io/" in entry["manual"]
            continue
        assert sources["archives"][entry["archive"]]["url"].startswith("https://")
        assert [str(p) for p in get_data.targets(name, entry, None)] == [
            str(SCRIPT.parents[1] / part["to"]) for part in entry["folders"]
        ]


@pytest.mark.shared
def test_the_digests_are_those_of_the_reference_data(get_data, shared):
    sources = yaml.safe_load((SCRIPT.parent / "data_sources.yml").read_text())
    for name in ("TNO", "RoadScene", "MRI_CT", "MRI_PET", "MRI_SPECT"):
        (part,) = sources["sets"][name]["folders"]
        assert get_data.digest(shared / "data" / name) == part["digest"]
        assert len(files(shared / "data" / name)) == part["pictures"]


# --- weights --------------------------------------------------------------------------------------------------------


def test_weights_are_fetched_once_and_resumed(run, server, tmp_path):
    server.cuts = [150_000]
    status, out, err = run("net", sha256=WHOLE)
    assert (status, err) == (0, "")
    assert "licence: none stated" in out
    assert server.asked == [None, "bytes=150000-"]
    assert (tmp_path / "out/net/net++.pt").read_bytes() == PACKED
    assert "nothing to do" in run("net", sha256=WHOLE)[1]
    assert len(server.asked) == 2
    (tmp_path / "out/net/net++.pt").write_bytes(b"damaged")
    assert "the same command fetches it again" in run("net", sha256=WHOLE)[2]
    assert run("net", sha256=WHOLE)[0] == 0


def test_wrong_weights_are_refused(run, tmp_path):
    status, _, err = run("net", sha256="0" * 64)
    assert (status, err.count("\n")) == (1, 1)
    assert "the checksum is wrong" in err
    assert "by hand: x/net++.pt" in err
    assert files(tmp_path / "out") == ["net/net++.refused"]


def test_weights_whose_checksum_nobody_knows(run, server, tmp_path):
    status, out, err = run("net")
    assert (status, err) == (0, "")
    assert f"SHA-256 {WHOLE}, which nobody could compare with the file this project was tested with" in out
    (tmp_path / "out/net/net++.pt").unlink()
    server.body = b"<html>Please log in</html>"
    status, _, err = run("net")
    assert status == 1
    assert "no PyTorch file: a page that asks to log in?; by hand: x/net++.pt of" in err
    assert files(tmp_path / "out") == []


def test_the_table_has_every_method_with_released_weights():
    """A comparison that lacks a file says that this program fetches it."""
    table = yaml.safe_load(SCRIPT.with_name("data_sources.yml").read_text(encoding="utf-8"))["weights"]
    assert sorted(table) == sorted(name for name, cls in NETWORKS.items() if cls.about and cls.about.weights)


def test_the_table_describes_the_files_of_the_tests(shared):
    table = yaml.safe_load(SCRIPT.with_name("data_sources.yml").read_text(encoding="utf-8"))["weights"]
    for name, entry in table.items():
        for file in (file for file in entry["files"] if file["sha256"]):
            here = shared / "golden" / ("." if name == "ship" else "zoo") / name / Path(file["path"]).name
            assert here.stat().st_size == file["bytes"], here
            assert hashlib.sha256(here.read_bytes()).hexdigest() == file["sha256"], here
