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
import re
import sys
import warnings
from pathlib import Path

from fusion.terminal import need_opencv

if __name__ == "__main__":
    need_opencv()  # or end in one line

import torch
import yaml
from accelerate.utils import gather_object

from fusion import build_training, config, images, weights
from fusion.build_training import NothingToTrain, Run, is_first_process, nothing_to_train
from fusion.data import doctor
from fusion.memory import is_about_memory, keep_freed_memory
from fusion.options import TrainOptions
from fusion.reading import once
from fusion.registry import NETWORKS, UnknownName
from fusion.terminal import forgive_encodings
from fusion.training import record
from fusion.training.checkpoint import load as load_checkpoint
from fusion.training.trainer import Diverged, reason_of

FREE = {"name", "device", "data.workers", "log_every", "save_every", "keep", "patience", "validation", "deliver"}
FREE |= {"compile", "deterministic"}
"""Options that a resumed run may change; the others decide the weights."""


def main(arguments: list[str] | None = None) -> int:
    forgive_encodings()
    args = parse(arguments)
    keep_freed_memory()
    warnings.showwarning = once(lambda text: say(f"note: {text}"))
    try:
        options = read_options(args.opt, args.overrides)
        folder = Path("runs") / options.name
        run = build(options, args.opt, folder)
        for line in doctor.refuse(run.remarks, args.strict):
            say(line)
        prepare(run, options, folder, resume=args.resume)
    except NothingToTrain as nothing:
        say(str(nothing))
        return 0
    except KeyboardInterrupt:
        return 130
    except (ValueError, UnknownName, OSError) as error:
        return fail(error, 2)
    return train(run, options)


def build(options: TrainOptions, path: str, folder: Path) -> Run:
    try:
        return build_training.training(options, path, folder)
    except (RuntimeError, MemoryError) as error:
        if not is_about_memory(error):
            raise
        raise ValueError(no_memory(options)) from error


def train(run: Run, options: TrainOptions) -> int:
    """Run to the end or to a signal; returns the exit status."""
    trainer = run.trainer
    try:
        finished = trainer.run()
        if finished and trainer.accelerator.is_main_process:
            deliver(run, options)
    except KeyboardInterrupt:
        return fail(f"stopped at once; --resume continues from {trainer.checkpoints.last() or 'the beginning'}", 130)
    except (ValueError, OSError, Diverged) as error:
        return fail(error, 2, everywhere=not isinstance(error, Diverged))
    except (RuntimeError, MemoryError) as error:
        if is_about_memory(error):
            return fail(no_memory(options), 2, everywhere=True)
        if "by peer" in str(error):  # gloo: connection closed, or reset
            return fail("another process has ended; its own line says why", 2, everywhere=True)
        raise
    trainer.accelerator.end_training()
    if finished:
        return 0
    say(f"stopped after step {trainer.progress.step}, which is saved: the same command with --resume continues")
    return 128 + trainer.stop.asked if trainer.stop.asked else 1


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a fusion network.")
    parser.add_argument("-opt", required=True, help="YAML file, e.g. configs/cddfuse_msrs.yml")
    parser.add_argument("--strict", action="store_true", help="what looks wrong with the pictures is an error")
    parser.add_argument("--resume", action="store_true", help="continue runs/NAME from its newest checkpoint")
    parser.add_argument("overrides", nargs="*", metavar="a.b=value", help="replaces a value of the YAML file")
    return parser.parse_intermixed_args(arguments)


def say(text: str) -> None:
    if is_first_process():
        print(text, flush=True)


def fail(error: Exception | str, status: int, *, everywhere: bool = False) -> int:
    """One line, from the first process; from every one where it may be that one's own trouble."""
    error = reason_of(error) if isinstance(error, OSError) else error
    if is_first_process() or everywhere:
        print(f"error: {error}", file=sys.stderr, flush=True)
    return status


def no_memory(options: TrainOptions) -> str:
    size = options.data.options.get("size")
    patches = f"{options.data.batch_size} patches" + (f" of {size}x{size}" if size else "")
    return (
        f"not enough memory for a batch of {patches}: lower data.batch_size (and raise accumulation to make up for "
        "it), set checkpointing=true, or precision=bf16"
    )


def read_options(path: str, overrides: list[str]) -> TrainOptions:
    raw = config.read_yaml(path)
    if "models" in raw:
        raise NothingToTrain(f"{path} compares methods, nothing in it trains: python test.py -opt {path}")
    network = raw.get("network")
    name = network.get("name") if isinstance(network, dict) else None
    if name in NETWORKS and not NETWORKS[name].learned:  # before anybody asks for its missing phases
        raise nothing_to_train(name)
    return config.load(path, overrides, TrainOptions)


# --- the run's folder -----------------------------------------------------------------------------------------------


def prepare(run: Run, options: TrainOptions, folder: Path, *, resume: bool) -> None:
    """Restore the run, or open its folder. Raises ValueError where it may do neither."""
    trainer = run.trainer
    found = trainer.checkpoints.newest(say)
    if found is None and (last := trainer.checkpoints.last()):
        raise ValueError(
            f"no checkpoint of {last.parent} can be read: remove {folder}, or name=OTHER starts another run"
        )
    if found and not resume:
        step = found[1]["progress"]["step"]
        raise ValueError(f"{folder} holds a run at step {step}: --resume continues it, name=OTHER starts another")
    if found:
        path, state = found
        if changes := differences(state["config"], trainer.config):
            step = state["progress"]["step"]
            if all(re.match(r"phases\.\d+\.length:", change) for change in changes):
                raise ValueError(
                    f"{folder} was planned otherwise ({'; '.join(changes)}) and is at step {step}; its rates follow "
                    f"that plan. A longer training is a run of its own: name=OTHER weights=models/{options.name}"
                    ".safetensors continues from what it learned"
                )
            raise ValueError(f"{path} was made with another config: {'; '.join(changes)}. Use name=OTHER for a new run")
        trainer.restore(state)
        say(f"continuing {path} at step {trainer.progress.step} of {trainer.phases[-1].end}")
    elif resume:
        say(f"{folder} holds no checkpoint yet: starting from the beginning")
    if trainer.accelerator.num_processes > 1 and len(set(gather_object([trainer.progress.step]))) > 1:
        raise ValueError(
            f"the processes disagree on where {folder} stands: it must lie on a disk that all machines share"
        )
    if trainer.accelerator.is_main_process:
        with images.atomic_path(folder / "config.yml") as out:
            out.write_text(yaml.safe_dump(options.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
        facts = {**record.provenance(), "seed": options.seed, "data": run.data}
        facts |= {"device": str(trainer.device), "processes": trainer.accelerator.num_processes}
        facts |= record.gpu(trainer.device)
        facts |= {"precision": trainer.accelerator.mixed_precision, "threads": torch.get_num_threads()}
        with images.atomic_path(folder / "run.json") as out:
            out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def differences(old: dict, new: dict) -> list[str]:
    """`key: 8 then, 16 now` for every option that decides the weights and differs."""
    old, new = flatten(old), flatten(new)
    old.setdefault("computed_in", new.get("computed_in"))  # early checkpoints do not say
    return [
        f"{key}: {old.get(key)!r} then, {new.get(key)!r} now"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not any(key == free or key.startswith(f"{free}.") for free in FREE)
    ]


def flatten(value, prefix: str = "") -> dict:
    """{"a": {"b": [1]}} -> {"a.b.0": 1}"""
    if isinstance(value, (dict, list)) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {
            k: v for key, inner in items for k, v in flatten(inner, f"{prefix}.{key}" if prefix else str(key)).items()
        }
    return {prefix: value}


def deliver(run: Run, options: TrainOptions) -> None:
    """models/NAME.safetensors and its card."""
    trainer = run.trainer
    network, progress = trainer.network_to_deliver(), vars(trainer.progress)
    best = trainer.checkpoints.folder / "best.pt"
    if options.deliver == "best" and best.exists():
        state = load_checkpoint(best)
        network.load_state_dict(state["ema"] or state["network"])
        progress = state["progress"]
    path = Path("models") / f"{options.name}.safetensors"
    weights.save(path, network, name=options.network.name, options=options.network.options)
    card = {
        "name": options.name,
        "network": options.network.model_dump(mode="json"),
        "steps": progress["step"],
        "seed": options.seed,
        "data": run.data,
        "validation": progress["metrics"],
        "config": options.model_dump(mode="json"),
        **record.provenance(),
    }
    with images.atomic_path(path.with_suffix(".json")) as out:
        out.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    say(f"wrote {path} and {path.with_suffix('.json')}; the run is in {trainer.folder}")


if __name__ == "__main__":
    sys.exit(main())
