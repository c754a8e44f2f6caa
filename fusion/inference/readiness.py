"""Whether compiled loops are there yet. Where they are not, PyTorch computes the first pictures, and a thread compiles.

The environment variable FUSION_LOOPS decides otherwise: `wait` compiles before the first picture, so that all pictures
of a process are computed alike; `off` leaves everything to PyTorch.
"""

from __future__ import annotations

import atexit
import os
import threading
import warnings
from collections.abc import Callable, Hashable

LOCK = threading.Lock()
STATES: dict[Hashable, str] = {}
"""Of each kind of loops: `ready`, `coming` or `failed`."""


def mode() -> str:
    """What FUSION_LOOPS says; ValueError for a word that means nothing."""
    said = os.environ.get("FUSION_LOOPS", "")
    if said not in ("", "wait", "off"):
        raise ValueError(f"FUSION_LOOPS must be wait or off, or not set; got {said!r}")
    return said


def ready(kind: Hashable, rehearse: Callable[[], object]) -> bool:
    """Whether loops may be used. kind: those with other types of arguments are others. rehearse: calls them all, with
    a small picture in this thread."""
    if mode() == "wait":
        return True
    with LOCK:
        if kind not in STATES:
            if "coming" in STATES.values():  # to look for kept ones would wait for the compiler
                return False
            if kept(rehearse):
                STATES[kind] = "ready"
            else:
                begin(kind, rehearse)
        return STATES[kind] == "ready"


class Meanwhile:
    """`other` computes until the loops of a form are ready.

    loops, other: forms, (ir, vis) -> raw output, with `memory(h, w)`; loops also has `rehearse`.
    """

    def __init__(self, kind: Hashable, loops, other):
        self.kind, self.loops, self.other = kind, loops, other

    def __call__(self, ir, vis):
        return self.form()(ir, vis)

    def memory(self, h: int, w: int) -> int:
        return self.form().memory(h, w)

    def form(self):
        return self.loops if ready(self.kind, self.loops.rehearse) else self.other


def kept(rehearse: Callable[[], object]) -> bool:
    """Whether everything is there that was once compiled."""
    from fusion.inference.loops import compiler

    try:
        with compiler.nothing_new():
            rehearse()
    except compiler.Missing:
        return False
    return True


def begin(kind: Hashable, rehearse: Callable[[], object]) -> None:
    from fusion.inference.loops import compiler

    compiler.announce("compiling loops for this processor, the first time only; until then PyTorch computes, slower")
    STATES[kind] = "coming"
    thread = threading.Thread(target=finish, args=(kind, rehearse), daemon=True, name="fusion loops")
    thread.start()
    atexit.register(stop, thread)


def finish(kind: Hashable, rehearse: Callable[[], object]) -> None:
    """In the thread."""
    from fusion.inference.loops import compiler

    try:
        rehearse()
        STATES[kind] = "ready"
    except compiler.Stopped:
        pass
    except Exception as error:  # whatever a compiler may say: pictures are made without it
        STATES[kind] = "failed"
        warnings.warn(f"loops cannot be compiled here, PyTorch computes: {error}", stacklevel=2)


def stop(thread: threading.Thread) -> None:
    """When the process ends: what has been compiled is kept, the function at hand is finished, the rest is for the next
    process. A compiler that is still at work while Python is taken down could bring the process down."""
    from fusion.inference.loops import compiler

    compiler.stop()
    thread.join()
