"""Watching a run: one line of progress, TensorBoard, `log.jsonl`, and pictures of fixed validation pairs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm


class Watch:
    """Everything a person sees of a run; a silent one (another process than the first) does nothing.

    folder: `log.jsonl`, `tensorboard/` and `pictures/` go there.
    """

    def __init__(self, folder: Path, *, start: int, total: int, silent: bool = False):
        self.silent = silent
        if silent:
            return
        self.folder = folder
        self.bar = tqdm(total=total, initial=start, unit="step", dynamic_ncols=True, smoothing=0.05)
        self.board = SummaryWriter(folder / "tensorboard", purge_step=start)
        self.patches, self.since = 0, time.monotonic()

    def step(self, patches: int) -> None:
        if not self.silent:
            self.patches += patches
            self.bar.update()

    def scalars(self, step: int, phase: str, terms: dict[str, float], norms: dict, rates: dict) -> None:
        """Loss terms, gradient norms and rates of one step: to the line, to TensorBoard, to `log.jsonl`."""
        if self.silent:
            return
        now = time.monotonic()
        speed = self.patches / max(now - self.since, 1e-9)
        self.patches, self.since = 0, now
        shown = "  ".join(f"{name} {value:.4g}" for name, value in terms.items())
        lr = "/".join(f"{rate:.2g}" for rate in dict.fromkeys(rates.values()))
        self.bar.set_description(phase, refresh=False)
        self.bar.set_postfix_str(f"{shown}  lr {lr}  {speed:.1f} patches/s")
        groups = {"loss": terms, "gradient_norm": norms, "rate": rates, "speed": {"patches_per_second": speed}}
        for group, values in groups.items():
            for name, value in values.items():
                self.board.add_scalar(f"{group}/{name}", value, step)
        self._log({"step": step, "phase": phase, **groups})

    def validation(self, step: int, metrics: dict[str, float]) -> None:
        if self.silent:
            return
        for name, value in metrics.items():
            self.board.add_scalar(f"validation/{name}", value, step)
        self._log({"step": step, "validation": metrics})
        self.say(f"step {step}: " + "  ".join(f"{name} {value:.3f}" for name, value in metrics.items()))

    def pictures(self, step: int, rows: list[dict[str, Tensor]]) -> None:
        """One row per pair: name -> (1, 1, H, W) in [0, 1]; side by side in TensorBoard and in `pictures/`."""
        if self.silent:
            return
        from torchvision.utils import save_image

        for i, row in enumerate(rows):
            strip = torch.cat([image[0].cpu() for image in row.values()], dim=2)
            self.board.add_image(f"pair_{i}/{'_'.join(row)}", strip, step)
            path = self.folder / "pictures" / f"step_{step:08d}_pair_{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_image(strip, path)

    def say(self, text: str) -> None:
        """A line above the progress bar."""
        if not self.silent:
            self.bar.write(text)

    def close(self) -> None:
        if not self.silent:
            self.bar.close()
            self.board.close()

    def _log(self, record: dict) -> None:
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
