"""What the pair doctor speaks of: a pair as it was measured, and what was found in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from fusion.data.partners import Sketch
from fusion.data.picture_facts import Facts
from fusion.data.registration import Shift

Task = Literal["infrared-visible", "medical"]
SIDES = ("ir", "vis")


class Finding(NamedTuple):
    """level: `problem` or `note`; check: one word; pair: its name, empty for the folder; text: what and what now."""

    level: Literal["problem", "note"]
    check: str
    pair: str
    text: str

    def __str__(self) -> str:
        return f"{self.level}: {self.check}: {self.pair + ': ' if self.pair else ''}{self.text}"


@dataclass
class Patient:
    """A pair, or a file without a partner: its files, and what was measured on them."""

    name: str
    files: dict[str, Path]
    facts: dict[str, Facts] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    shift: Shift | None = None
    sketch: Sketch | None = None

    @property
    def whole(self) -> bool:
        return len(self.facts) == 2

    @property
    def same_size(self) -> bool:
        return self.whole and len({(f.h, f.w) for f in self.facts.values()}) == 1


def few(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
