"""The wheel is whole: weights, programs and configs are in it, and it runs where no checkout is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fusion import command

PARTS = ("fusion", "scripts", "models", "configs", "train.py", "test.py", "setup.py", "pyproject.toml")
PARTS += ("requirements.txt", "README.md", "LICENSE")
MIB = 2**20


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory) -> Path:
    """Built from a copy: setuptools leaves its own folders beside the sources."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for part in PARTS:
        if (root / part).is_dir():
            shutil.copytree(root / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(root / part, source / part)
    (source / "models/mine.safetensors").write_bytes(bytes(10))  # trained by whoever builds it
    build = [sys.executable, "-m", "pip", "wheel", source, "--no-deps", "--no-build-isolation", "--no-index", "-w", out]
    done = subprocess.run([*map(str, build), "-q"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (file,) = out.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def run(root, installed, tmp_path):
    """Python in a folder with a pair, where `fusion` is the wheel's."""
    for kind, name in (("ir", "ir.png"), ("vi", "vis.png")):
        shutil.copy(root / "test_img/sample" / kind / "01_street_day.png", tmp_path / name)
    # Without compiled loops: that they are being compiled is told, once, and tested where they are.
    environment = {**os.environ, "PYTHONPATH": str(installed), "FUSION_LOOPS": "off"}

    def start(code: str, *arguments) -> subprocess.CompletedProcess:
        line = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return start


CONSOLE = "import sys; from fusion.command import main; sys.exit(main())"
"""What pip makes of the entry point."""


def test_what_is_in_it(root, wheel):
    assert wheel.stat().st_size < 6 * MIB
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entries,) = (name for name in names if name.endswith("entry_points.txt"))
        assert "irvis = fusion.command:main" in archive.read(entries).decode()
    library = {p.relative_to(root).as_posix() for p in (root / "fusion").rglob("*.*") if "__pycache__" not in p.parts}
    assert library <= names
    models = {p.name for p in (root / "models").glob("*_msrs.*")}
    assert {f"fusion/pretrained/{name}" for name in models} <= names
    assert "fusion/pretrained/mine.safetensors" not in names
    configs = {p.name for p in (root / "configs").glob("*.yml")}
    assert {f"fusion/programs/configs/{name}" for name in configs} <= names
    assert {f"fusion/programs/{path}" for path, _ in command.COMMANDS.values()} <= names
    assert "fusion/programs/setup.py" not in names


def test_the_readmes_example_runs(root, run, installed):
    (example,) = re.findall(r"```python\n(import fusion\n.*?)```", (root / "README.md").read_text(), re.DOTALL)
    done = run(f"{example}\nprint(fusion.__file__, picture.shape, sorted(scores))")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{installed / 'fusion' / '__init__.py'} (240, 320, 3) ['AG', 'CC', 'EN',")
    assert done.stderr == ""


def test_the_console_program_fuses_a_pair(run, tmp_path):
    done = run(CONSOLE, "fuse", "ir.png", "vis.png", "-o", "fused.png")
    assert (done.returncode, done.stdout, done.stderr) == (0, "fused: fused.png\n", "")
    assert (tmp_path / "fused.png").is_file()


def test_the_console_program_gives_the_programs_status_and_finds_the_configs(run):
    done = run(CONSOLE, "compare", "-opt", "configs/demo.yml", "models=[{name: swift}]")
    assert done.returncode == 2
    assert re.fullmatch(r"error: configs/demo.yml: .*test_img.sample.*\n", done.stderr)


@pytest.mark.parametrize("name", command.COMMANDS)
def test_every_command_is_a_program(name, root):
    path, words = command.COMMANDS[name]
    assert (root / path).is_file()
    assert words in command.usage()


@pytest.mark.parametrize("name", command.COMMANDS)
def test_help_says_how_it_was_started(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["irvis", name, "--help"])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    with pytest.raises(SystemExit) as end:
        command.main()
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: irvis {name} [-h]")


def test_commands_that_are_none(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["irvis"])
    assert command.main() == 0
    assert capsys.readouterr().out.startswith("usage: irvis COMMAND ...")
    monkeypatch.setattr(sys, "argv", ["irvis", "fusee"])
    assert command.main() == 2
    assert capsys.readouterr().err.startswith("error: no command 'fusee'; there are: fuse, score, compare, ")
