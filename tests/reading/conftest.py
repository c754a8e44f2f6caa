"""The programs, run in this process."""

from __future__ import annotations

import importlib.util
import sys

import pytest


@pytest.fixture
def run(capsys, root):
    """A program of this project, in this process; returns its exit status, output and errors."""

    def start(program: str, *arguments) -> tuple[int, str, str]:
        spec = importlib.util.spec_from_file_location("ranges_program", root / program)
        module = importlib.util.module_from_spec(spec)
        with pytest.MonkeyPatch.context() as patched:
            patched.setitem(sys.modules, spec.name, module)
            spec.loader.exec_module(module)
            status = module.main([str(a) for a in arguments])
        return status, *capsys.readouterr()

    return start
