"""One process's part of work that several processes share, started by torchrun or accelerate.

They only tell each other what they found, so they talk over the CPU (gloo): any number of processes may share a GPU,
and one may take hours longer than another.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")


class Share:
    """The part of process number `rank` of `world`: every `world`-th thing, from number `rank` on."""

    def __init__(self, rank: int = 0, world: int = 1):
        self.rank, self.world = rank, world

    @classmethod
    def of_this_process(cls) -> Share:
        """All of the work, unless there are several processes; then they meet here."""
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if world == 1:
            return cls()
        from torch import distributed  # not before: a lone process may do without PyTorch

        distributed.init_process_group("gloo", timeout=timedelta(days=7))
        return cls(distributed.get_rank(), world)

    def device(self, name: str) -> str:
        """A name for `build.device`: `auto` and `cuda` are the GPU of this process, where there are GPUs."""
        import torch

        if name not in ("auto", "cuda") or self.world == 1 or not torch.cuda.is_available():
            return name
        return f"cuda:{int(os.environ.get('LOCAL_RANK', self.rank)) % torch.cuda.device_count()}"

    def of(self, things: list[T]) -> list[T]:
        return things[self.rank :: self.world]

    def in_order(self, parts: list[list[T]]) -> list[T]:
        """What every process made of its part, in the order that one process would have made it in."""
        whole: list[T] = [None] * sum(map(len, parts))  # type: ignore[list-item]
        for rank, part in enumerate(parts):
            whole[rank :: self.world] = part
        return whole

    def gather(self, part: T) -> list[T]:
        """Every process's part, in all of them."""
        if self.world == 1:
            return [part]
        from torch import distributed

        parts: list[T] = [None] * self.world  # type: ignore[list-item]
        distributed.all_gather_object(parts, part)
        return parts

    @contextmanager
    def first_process_first(self) -> Iterator[None]:
        """The others enter when the first one has left."""
        if self.rank > 0:
            self._meet()
        yield
        if self.rank == 0:
            self._meet()

    def end(self) -> None:
        """Leave together: a process that is gone early takes the connection of the others with it."""
        if self.world > 1:
            from torch import distributed

            self._meet()
            distributed.destroy_process_group()

    def _meet(self) -> None:
        if self.world > 1:
            from torch import distributed

            distributed.barrier()
