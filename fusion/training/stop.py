"""SIGTERM and Ctrl-C as a wish that the loop grants at the end of its step, instead of an end in the middle of one."""

from __future__ import annotations

import signal


class Stop:
    """A context in which either signal only sets `asked`, to its number; a second Ctrl-C stops at once."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self):
        self.asked = 0

    def __enter__(self) -> Stop:
        self._before = {number: signal.signal(number, self._ask) for number in self.SIGNALS}
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame) -> None:
        if self.asked == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = number
