"""Work in processes that can be stopped at any moment: a method has no place where it could be asked to end.

Each process does one request at a time. One that is stopped, or that dies of a picture, is replaced; the page lives on.
"""

from __future__ import annotations

import multiprocessing
import queue
import threading
from collections.abc import Iterator

from fusion.app import work
from fusion.app.messages import Failed, Message, Request, SetRequest, Step

STOPPED = "stopped: nothing was kept"


class Process:
    """A `work.Worker` elsewhere."""

    def __init__(self, device: str):
        context = multiprocessing.get_context("spawn")  # threads and CUDA do not survive a fork
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=work.serve, args=(theirs, device), daemon=True)
        self._process.start()
        theirs.close()
        self.stopped = False

    def run(self, request: Request | SetRequest) -> Iterator[Message]:
        """The messages of `work.Worker`; Failed where the process ends instead."""
        try:
            self._pipe.send(request)
            while isinstance(message := self._pipe.recv(), Step):
                yield message
            yield message
        except (EOFError, OSError):
            self._process.join(5)
            died = f"the work ended with signal or status {self._process.exitcode}; was there enough memory?"
            yield Failed(STOPPED if self.stopped else died)

    def stop(self) -> None:
        """At once: it holds nothing but memory."""
        self.stopped = True
        self._process.kill()

    @property
    def alive(self) -> bool:
        return self._process.is_alive() and not self.stopped


class Processes:
    """As many as work at a time; whoever comes later waits."""

    def __init__(self, number: int = 1, device: str = "auto"):
        self._device = device
        self._idle: queue.Queue[Process] = queue.Queue()
        self._busy: dict[str, set[Process]] = {}
        self._lock = threading.Lock()
        for _ in range(number):
            self._idle.put(Process(device))

    def run(self, session: str, request: Request | SetRequest) -> Iterator[Message]:
        """The messages of the request, which `stop(session)` ends."""
        process = self._idle.get()
        process = process if process.alive else Process(self._device)
        with self._lock:
            self._busy.setdefault(session, set()).add(process)
        finished = False
        try:
            for message in process.run(request):
                finished = not isinstance(message, Step)
                yield message
        finally:
            if not finished:  # nobody listens any more
                process.stop()
            self._give_back(session, process)

    def stop(self, session: str) -> bool:
        """Whether anything was running for the session."""
        with self._lock:
            running = list(self._busy.get(session, ()))
        for process in running:
            process.stop()
        for process in running:
            self._give_back(session, process)
        return bool(running)

    def _give_back(self, session: str, process: Process) -> None:
        with self._lock:
            own = self._busy.get(session, set())
            if process not in own:
                return
            own.discard(process)
            if not own:
                del self._busy[session]
        self._idle.put(process if process.alive else Process(self._device))

    def close(self) -> None:
        """Stop all of them."""
        with self._lock:
            running = [process for processes in self._busy.values() for process in processes]
            self._busy.clear()
        while not self._idle.empty():
            running.append(self._idle.get())
        for process in running:
            process.stop()
