"""Programs in processes of their own, forked from one in which PyTorch is imported and nothing has run yet: one that
imports it itself takes three seconds of the processor to start.

torchrun is the launcher that people use (`training/test_two_processes.py` tries it); what it tells its processes is
told here.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

FORKS = "forkserver" in multiprocessing.get_all_start_methods()
SERVER = multiprocessing.get_context("forkserver" if FORKS else "spawn")
if FORKS:  # not `fusion`: older Pythons would look for it elsewhere than the tests do
    SERVER.set_forkserver_preload(["torch.distributed", "accelerate", "timm.optim", "kornia", "scipy.ndimage", "h5py"])


class Program:
    """`python PATH ARGUMENTS` in a folder, on one thread; once it has ended, its status and what it said."""

    def __init__(self, folder: Path, path: Path, *arguments: str, **environment: str):
        files = [tempfile.mkstemp() for _ in range(2)]
        for descriptor, _ in files:
            os.close(descriptor)
        self.files = [file for _, file in files]
        work = str(folder), str(path), arguments, environment, self.files
        self.process = SERVER.Process(target=perform, args=work)
        self.process.start()

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    def wait(self, seconds: float = 120) -> Program:
        """Until it ends. status: negative, the signal that ended it."""
        self.process.join(seconds)
        assert not self.alive, f"{self.process} does not end"
        self.status = self.process.exitcode
        self.out, self.err = (Path(file).read_text(encoding="utf-8") for file in self.files)
        for file in self.files:
            os.remove(file)
        return self

    def kill(self) -> None:
        """As kill -9 does."""
        self.process.kill()

    def terminate(self) -> None:
        """As torchrun does where another one has failed."""
        self.process.terminate()


def perform(folder: str, path: str, arguments: tuple[str, ...], environment: dict[str, str], files: list[str]) -> None:
    """In the process."""
    import torch

    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY), number)
    sys.stdout.reconfigure(encoding="utf-8")
    sys.stderr.reconfigure(encoding="utf-8")
    os.chdir(folder)
    for name in ("RANK", "WORLD_SIZE"):
        os.environ.pop(name, None)
    os.environ.update(environment, OMP_NUM_THREADS="1")
    torch.set_num_threads(1)
    sys.argv[:], sys.path[:0] = [path, *arguments], [str(Path(path).parent)]
    runpy.run_path(path, run_name="__main__")


def run(folder: Path, path: Path, *arguments: str) -> Program:
    """One that has ended."""
    return Program(folder, path, *arguments).wait()


def several(n: int, folder: Path, path: Path, *arguments: str) -> list[Program]:
    """n that share their work, by rank, begun."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(n), "LOCAL_WORLD_SIZE": str(n)}
    return [Program(folder, path, *arguments, RANK=str(i), LOCAL_RANK=str(i), **meet) for i in range(n)]


def kill_one_of(programs: list[Program], due: Callable[[], bool]) -> None:
    """kill -9 of the first one when it is due, unless they are done by then; the others are told to end, as torchrun
    does."""
    while not due() and all(program.alive for program in programs):
        time.sleep(0.002)
    programs[0].kill()
    for program in programs[1:]:
        program.process.join(1)
        program.terminate()
    for program in programs:
        program.wait()
