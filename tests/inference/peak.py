"""How much a process grows while it fuses, by its own peak."""

from __future__ import annotations

import subprocess
import sys


def growth(setup: str, h: int, w: int) -> float:
    """MiB that two pictures of h x w add to the peak of a process that has fused a small one; two, that nothing piles
    up. setup: lines that make a `form` of (ir, vis)."""
    script = f"""
import re, torch
{setup}
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 2**10
with torch.inference_mode():
    form(*torch.rand(2, 1, 1, 40, 40))
    before = peak()
    for _ in range(2):
        form(*torch.rand(2, 1, 1, {h}, {w}))
print(peak() - before)
"""
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        if "compiling loops" not in done.stderr:
            break  # otherwise compiling took memory, too
    return float(done.stdout)
