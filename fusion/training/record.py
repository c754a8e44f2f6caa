"""What a run was: command, versions, commit. Enough, with the resolved config, to start the same run again."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import torch

PACKAGES = ("accelerate", "timm", "numpy", "kornia", "h5py")


def provenance() -> dict:
    """{"command", "commit", "versions", "processor"} of this process."""
    versions = {"python": platform.python_version(), "torch": torch.__version__}  # with the CUDA it was built for
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "unknown"
    return {"command": sys.argv, "commit": commit(), "versions": versions, "processor": platform.machine()}


def gpu(device: torch.device) -> dict:
    """{"gpu": name, memory, driver and cuDNN} of a CUDA device; {} for others."""
    if device.type != "cuda":
        return {}
    about = torch.cuda.get_device_properties(device)
    try:
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "-i", str(device.index or 0)]
        driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        driver = "unknown"
    facts = {"name": about.name, "capability": f"{about.major}.{about.minor}", "bytes": about.total_memory}
    return {"gpu": {**facts, "driver": driver, "cudnn": torch.backends.cudnn.version()}}


def commit() -> str | None:
    """The project's git commit, with `+changes` where files differ from it; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
