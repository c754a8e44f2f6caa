"""Train a network: config -> build -> trainer; the same file under python, torchrun or accelerate launch.

    python train.py -opt configs/cddfuse_msrs.yml [a.b=value ...] [--resume]
    torchrun --nproc-per-node 4 train.py -opt configs/cddfuse_msrs.yml

Writes runs/NAME/ (config.yml, run.json, log.jsonl, TensorBoard events, pictures, checkpoints) and, at the end,
models/NAME.safetensors with its card NAME.json. `--resume` continues from the newest checkpoint, bit for bit.
Exit status: 0, 2 where nothing could start or the run had to end, 130 after Ctrl-C, 143 after SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
import yaml

from fusion import build_training, config, images, weights
from fusion.build_training import Run, is_first_process
from fusion.config import TrainOptions
from fusion.memory import keep_freed_memory
from fusion.registry import UnknownName
from fusion.training import record
from fusion.training.checkpoint import load as load_checkpoint
from fusion.training.trainer import Diverged

FREE = {"name", "device", "data.workers", "log_every", "save_every", "keep", "patience", "validation", "deliver"}
"""Options that a resumed run may change; the others decide the weights."""


def main(arguments: list[str] | None = None) -> int:
    args = parse(arguments)
    keep_freed_memory()
    try:
        options = read_options(args.opt, args.overrides)
        folder = Path("runs") / options.name
        run = build_training.training(options, args.opt, folder)
        if not start(run, options, folder, resume=args.resume):
            return 0
        finished = run.trainer.run()
        if finished and run.trainer.accelerator.is_main_process:
            deliver(run, options)
    except build_training.NothingToTrain as nothing:
        say(str(nothing))
        return 0
    except KeyboardInterrupt:
        return fail("stopped at once; --resume continues from the last checkpoint", 130)
    except (ValueError, UnknownName, OSError, Diverged) as error:
        return fail(str(error), 2)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and "memory" not in str(error):
            raise
        return fail(no_memory(options), 2)
    if not finished:
        say(f"stopped after step {run.trainer.progress.step}, which is saved: the same command with --resume continues")
        return 130
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a fusion network.")
    parser.add_argument("-opt", required=True, help="YAML file, e.g. configs/cddfuse_msrs.yml")
    parser.add_argument("--resume", action="store_true", help="continue runs/NAME from its newest checkpoint")
    parser.add_argument("overrides", nargs="*", metavar="a.b=value", help="replaces a value of the YAML file")
    return parser.parse_intermixed_args(arguments)


def say(text: str) -> None:
    if is_first_process():
        print(text)


def fail(text: str, status: int) -> int:
    if is_first_process():
        print(f"error: {text}", file=sys.stderr)
    return status


def no_memory(options: TrainOptions) -> str:
    size = options.data.options.get("size")
    patches = f"{options.data.batch_size} patches" + (f" of {size}x{size}" if size else "")
    return (
        f"not enough memory for a batch of {patches}: lower data.batch_size (and raise accumulation to make up for it), "
        "set checkpointing=true, or precision=bf16"
    )


def read_options(path: str, overrides: list[str]) -> TrainOptions:
    if "models" in config.read_yaml(path):
        raise build_training.NothingToTrain(f"{path} compares methods, nothing in it trains: python test.py -opt {path}")
    return config.load(path, overrides, TrainOptions)


# --- the run's folder -----------------------------------------------------------------------------------------------


def start(run: Run, options: TrainOptions, folder: Path, *, resume: bool) -> bool:
    """Restore the run or open its folder; False where it is already finished and delivered."""
    trainer = run.trainer
    found = trainer.checkpoints.latest()
    if found and not resume:
        step = found[1]["progress"]["step"]
        raise ValueError(f"{folder} holds a run at step {step}: --resume continues it, name=OTHER starts another")
    if found:
        path, state = found
        if changes := differences(state["config"], trainer.config):
            raise ValueError(f"{path} was made with another config: {'; '.join(changes)}. Use name=OTHER for a new run")
        trainer.restore(state)
        say(f"continuing {path} at step {trainer.progress.step} of {trainer.phases[-1].end}")
    elif resume:
        say(f"{folder} holds no checkpoint yet: starting from the beginning")
    if trainer.accelerator.is_main_process:
        with images.atomic_path(folder / "config.yml") as out:
            out.write_text(yaml.safe_dump(options.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
        with images.atomic_path(folder / "run.json") as out:
            device = str(trainer.accelerator.device)
            facts = {**record.provenance(), "seed": options.seed, "device": device, "data": run.data}
            out.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return True


def differences(old: dict, new: dict) -> list[str]:
    """`key: 8 then, 16 now` for every option that decides the weights and differs."""
    old, new = flatten(old), flatten(new)
    return [
        f"{key}: {old.get(key)!r} then, {new.get(key)!r} now"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not any(key == free or key.startswith(f"{free}.") for free in FREE)
    ]


def flatten(value, prefix: str = "") -> dict:
    """{"a": {"b": [1]}} -> {"a.b.0": 1}"""
    if isinstance(value, (dict, list)) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, inner in items for k, v in flatten(inner, f"{prefix}.{key}" if prefix else str(key)).items()}
    return {prefix: value}


def deliver(run: Run, options: TrainOptions) -> None:
    """models/NAME.safetensors and its card."""
    trainer = run.trainer
    network = trainer.network_to_deliver()
    best = trainer.checkpoints.folder / "best.pt"
    step = trainer.progress.step
    if options.deliver == "best" and best.exists():
        state = load_checkpoint(best)
        network.load_state_dict(state["ema"] or state["network"])
        step = state["progress"]["step"]
    path = Path("models") / f"{options.name}.safetensors"
    weights.save(path, network, name=options.network.name, options=options.network.options)
    card = {
        "name": options.name,
        "network": options.network.model_dump(mode="json"),
        "steps": step,
        "seed": options.seed,
        "data": run.data,
        "validation": trainer.judge.measure(network) if trainer.judge else None,
        "config": options.model_dump(mode="json"),
        **record.provenance(),
    }
    with images.atomic_path(path.with_suffix(".json")) as out:
        out.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    say(f"wrote {path} and {path.with_suffix('.json')}; the run is in {trainer.folder}")


if __name__ == "__main__":
    sys.exit(main())
