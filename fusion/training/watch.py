"""Watching a run: one line of progress, TensorBoard, `log.jsonl`, and pictures of fixed validation pairs."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import save_image
from tqdm import tqdm


class Watch:
    """Everything a person sees of a run; a silent one (another process than the first) only counts patches.

    folder: `log.jsonl`, `tensorboard/` and `pictures/` go there; what they say of steps after `start` is forgotten,
    because those steps are taken anew.
    """

    def __init__(self, folder: Path, *, start: int, total: int, silent: bool = False):
        self.silent, self.patches, self.since = silent, 0, time.monotonic()
        if silent:
            return
        self.folder, self.log = folder, folder / "log.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        forget_after(start, self.log)
        self.board = SummaryWriter(folder / "tensorboard", purge_step=start + 1)
        seldom = 0.1 if sys.stderr.isatty() else 10.0  # seconds; a log file is no place for animation
        self.bar = tqdm(total=total, initial=start, unit="step", dynamic_ncols=True, smoothing=0.05, mininterval=seldom)

    def advance(self) -> None:
        if not self.silent:
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
        self.bar.set_postfix_str(f"{shown}  lr {lr}  {speed:.1f} patches/s", refresh=False)
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
        try:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise OSError(f"cannot write {self.log}: {error.strerror}") from error


def forget_after(step: int, log: Path) -> None:
    """Drop the records of later steps, and a line that a killed run did not finish."""
    if not log.exists():
        return
    kept = []
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record["step"] <= step:
            kept.append(line + "\n")
    log.write_text("".join(kept), encoding="utf-8")
