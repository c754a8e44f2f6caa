"""Compare fusion methods: fuse every pair with every model, save, score the saved files, write the tables.

    python test.py [-opt configs/compare.yml] [a.b=value ...] [--fresh]
    torchrun --nproc-per-node 4 test.py ...          # shares the pairs among processes, one table

Interrupted and started again, it continues: each picture is recorded in OUT/.progress.jsonl with a key made of all
that it depends on (weights, options, source files), and is made again only when that key or the picture changed.
Exit status: 0, 1 where a pair failed, 2 where nothing could start, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import shlex
import statistics
import sys
import time
import warnings
from collections import deque
from concurrent.futures import Executor, Future
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from fusion.terminal import need_opencv

if __name__ == "__main__":
    need_opencv()  # or end in one line

import torch
from tqdm import tqdm

from fusion import __version__, build, config, images, infer, latex, metrics, page, report, weight_files, weights
from fusion.bulk.record import Record, WriteError
from fusion.bulk.share import Share
from fusion.data import doctor
from fusion.inference import costs
from fusion.memory import is_about_memory, keep_freed_memory
from fusion.metrics import published, scoring, significance
from fusion.names import natural
from fusion.options import ModelOptions, TestOptions
from fusion.pairing import Pair
from fusion.reading import once
from fusion.registry import UnknownName
from fusion.terminal import forgive_encodings


def main(arguments: list[str] | None = None) -> int:
    forgive_encodings()
    args = parse(arguments)
    keep_freed_memory()
    warnings.showwarning = once(lambda text: tqdm.write(f"note: {text}", file=sys.stderr))
    try:
        try:
            options = config.load(args.opt, args.overrides, TestOptions)
            plan = build.comparison(options, args.opt)
            share = Share.of_this_process()
            look(plan, strict=args.strict, silent=share.rank > 0)
            device = build.device(share.device(options.device))
            with share.first_process_first():
                done = record_in(options.out, fresh=args.fresh and share.rank == 0)
        except (ValueError, UnknownName, OSError) as error:
            return stop(2, f"error: {in_one_line(error)}")
        try:
            results = merged(share.gather(compare(plan, options, device, done, share)), plan)
            if share.rank > 0:
                share.end()
                return 0  # a launcher stops all processes when one fails: the first one, which writes, tells the status
            found = measured_costs(plan, options, device, fresh=args.fresh) if options.costs else {}
            write_results(plan, options, results, found)
            tables = report.write(options.out)
            latex.write(options.out)
            write_certificate(options, args)
            write_page(plan, options.out)
            share.end()
        except OSError as error:
            return stop(2, f"error: {in_one_line(error)}; finished pictures are kept, the same command continues")
    except KeyboardInterrupt:
        return stop(130, "interrupted: finished pictures are kept, the same command continues")
    print(f"\n{tables}\n\nAll of it: {options.out / 'index.html'}")
    return 1 if results.failures else 0


def merged(parts: list[Results], plan: build.Comparison) -> Results:
    """The results of all processes, in the order that one process would have made them in."""
    if len(parts) == 1:
        return parts[0]
    sets = [d.options.name for d in plan.datasets]
    rows = [m.row for m in plan.models]

    def place(entry: dict) -> tuple:
        row = rows.index(entry["model"]) if entry["model"] in rows else -1
        return sets.index(entry["dataset"]), natural(entry["image"]), row

    return Results(
        records=sorted((r for part in parts for r in part.records), key=place),
        failures=sorted((f for part in parts for f in part.failures), key=place),
    )


def stop(status: int, message: str) -> int:
    print(message, file=sys.stderr)
    return status


def in_one_line(error: Exception | str) -> str:
    return " ".join(str(error).split())


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare fusion methods on pairs of images.")
    parser.add_argument("-opt", default="configs/compare.yml", help="YAML file (default: %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="make every picture again")
    parser.add_argument("--strict", action="store_true", help="what looks wrong with the pictures is an error")
    parser.add_argument("overrides", nargs="*", metavar="a.b=value", help="replaces a value of the YAML file")
    return parser.parse_intermixed_args(arguments)


def look(plan: build.Comparison, *, strict: bool, silent: bool) -> None:
    """Say how names belong together and what looks wrong with the pairs. Raises ValueError where that is an error."""
    for dataset in plan.datasets:
        settled = ["range"] * (dataset.options.range != "auto")
        lines = doctor.quick_check(dataset.pairing.pairs, task=dataset.options.task, without=settled)
        lines = doctor.refuse(lines, strict)
        for line in [] if silent else [*dataset.pairing.examples(), *lines]:
            print(f"{dataset.options.name}: {line}")


# --- what is done already -------------------------------------------------------------------------------------------


def record_in(out: Path, *, fresh: bool) -> Record:
    """Raises WriteError."""
    try:
        return Record(out / ".progress.jsonl", out, fresh=fresh)
    except WriteError as error:
        reason = error.__cause__.strerror
        raise WriteError(f"out: cannot write in {out}: {reason}; choose a folder with out=FOLDER") from error


def weights_of(model: ModelOptions, task: str) -> dict | None:
    """Name and hash of a row's weight file (of two files, of one after the other); None for a method without."""
    file = weights.chosen(model.name, model.weights, task)[1]
    if file is None:
        return None
    parts = weight_files.files(file)
    contents = b"".join(part.read_bytes() for part in parts)
    return {"file": " + ".join(part.name for part in parts), "sha256": hashlib.sha256(contents).hexdigest()}


def model_key(model: ModelOptions, options: TestOptions, chosen: dict, task: str) -> str:
    """All that decides a picture and its scores, but for the source files and the code between two versions."""
    sha256 = about["sha256"] if (about := weights_of(model, task)) else None
    parts = [__version__, model.name, model.options, sha256, options.output, options.metrics.profile, list(chosen)]
    if (how := (model.speed, model.max_memory)) != ("exact", None):
        parts.append(how)
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


# --- the work -------------------------------------------------------------------------------------------------------


@dataclass
class Results:
    records: list[dict] = field(default_factory=list)
    failures: list[dict] = field(default_factory=list)

    def fail(self, dataset: str, image: str, model: str, error: Exception | str) -> None:
        failure = {"dataset": dataset, "image": image, "model": model, "error": in_one_line(error)}
        if failure not in self.failures:
            self.failures.append(failure)


def compare(plan: build.Comparison, options: TestOptions, device: torch.device, done: Record, share: Share) -> Results:
    """Fuse and score this process's share of the pairs with every model; a pair that fails is listed, not fatal."""
    results, machine = Results(), costs.machine(device, torch.get_num_threads())
    total = sum(len(share.of(d.pairing.pairs)) * len(models_for(plan, d)) for d in plan.datasets)
    with (
        scoring.pool(options.workers) if options.workers > 1 else nullcontext() as processes,
        tqdm(total=total, unit="picture", dynamic_ncols=True, disable=True if share.rank else None) as bar,
    ):
        work = Work(results, done, plan.metrics, processes)
        for dataset in plan.datasets:
            name, task = dataset.options.name, dataset.options.task
            models = models_for(plan, dataset)
            keys = {m.row: model_key(m, options, plan.metrics, task) for m in models}
            networks = {m.row: build.row(m, task).to(device).form() for m in models}
            if share.rank == 0:
                for line in dataset.pairing.report():
                    results.fail(name, "-", "all models", line)
            for pair in share.of(dataset.pairing.pairs):
                scorer = Scorer(dataset, pair, options, plan.metrics, work, machine)
                for row, network in networks.items():
                    bar.set_description(f"{name} {pair.name} {row}")
                    try:
                        scorer.score(network, row, keys[row])
                    except PairError as error:
                        results.fail(name, pair.name, row if scorer.sources else "all models", error)
                    bar.update()
                work.collect()
        work.collect(wait=True)
    return results


class Work:
    """Records on their way to the results, in order; those that other processes score arrive later."""

    def __init__(self, results: Results, done: Record, chosen: dict, processes: Executor | None):
        self.results, self.done, self.metrics, self.processes = results, done, chosen, processes
        self.queue: deque[tuple[dict, Future | None]] = deque()

    def add(self, record: dict, triple: scoring.Triple) -> None:
        """A record that has all but its scores, which another process finds out."""
        keys = [m.key for m in self.metrics.values()]
        self.queue.append((record, self.processes.submit(scoring.score, triple, keys)))

    def finish(self, record: dict, scores: dict[str, float]) -> dict:
        """The record with its scores, which is done now."""
        picture = self.done.folder / record["dataset"] / record["model"] / f"{record['image']}.png"
        return self.done.add(picture, **record, scores=scores)

    def collect(self, *, wait: bool = False) -> None:
        """Move what is ready, or all, to the results."""
        while self.queue and (wait or self.queue[0][1] is None or self.queue[0][1].done()):
            record, scored = self.queue.popleft()
            if scored is not None:
                found = scored.result()
                if found.error:
                    self.results.fail(record["dataset"], record["image"], record["model"], found.error)
                    continue
                record = self.finish(record, {name: found.values[m.key] for name, m in self.metrics.items()})
            self.results.records.append(record)


def models_for(plan: build.Comparison, dataset: build.DataSet) -> list[ModelOptions]:
    return [m for m in plan.models if m.datasets is None or dataset.options.name in m.datasets]


class PairError(Exception):
    """This pair cannot be fused by this model; the others may be."""


class Scorer:
    """One pair: its pictures are read once, and only when some model needs them."""

    def __init__(self, dataset, pair: Pair, options: TestOptions, chosen: dict, work: Work, machine: str):
        self.dataset, self.ranges, self.pair, self.options = dataset.options, dataset.ranges, pair, options
        self.metrics, self.work, self.machine = chosen, work, machine
        self.sources: tuple | None = None

    def score(self, network, row: str, model_key: str) -> None:
        """Queue the record of this pair under this model: an old one that still holds, or a new one."""
        picture = self.options.out / self.dataset.name / row / f"{self.pair.name}.png"
        sources = " ".join(f"{path} {images.stamp(path)}" for path in (self.pair.ir, self.pair.vis))
        key = f"{model_key} {self.dataset.task} {sources}"
        if self.ranges != ("full", "full"):
            key += f" {self.ranges}"
        if old := self.work.done.find(picture, key):
            self.work.queue.append((old, None))
            return
        ir, vis, ir_levels, vis_levels = self.read()
        fused, seconds = self.fuse(network, ir, vis)
        images.write(picture, fused)
        names = {"dataset": self.dataset.name, "model": row, "image": self.pair.name}
        record = {**names, "key": key, "seconds": seconds, "machine": self.machine}
        if self.work.processes is not None:
            self.work.add(record, scoring.Triple(self.pair.name, picture, self.pair.ir, self.pair.vis, self.ranges))
            return
        scene = metrics.Scene(images.grey_levels(images.read(picture)), ir_levels, vis_levels)
        self.work.queue.append((self.work.finish(record, scoring.measured(self.metrics, scene)), None))

    def read(self) -> tuple:
        """(ir, vis, ir grey levels, vis grey levels)"""
        if self.sources is None:
            try:
                ir, vis = (
                    images.read(path, how) for path, how in zip((self.pair.ir, self.pair.vis), self.ranges, strict=True)
                )
                infer.check_sizes(ir, vis)
            except (ValueError, OSError) as error:
                raise PairError(error) from error
            self.sources = (ir, vis, images.grey_levels(ir), images.grey_levels(vis))
        return self.sources

    def fuse(self, network, ir, vis) -> tuple:
        """(picture, seconds); reading and writing files is not in the time."""
        try:
            start = time.perf_counter()
            how = {
                "output": self.options.output,
                "task": self.dataset.task,
                "range": "full",
            }  # it was read in its range
            fused = infer.fuse(network, ir, vis, **how)
            return fused, time.perf_counter() - start
        except ValueError as error:
            raise PairError(error) from error
        except (MemoryError, RuntimeError) as error:
            if not is_about_memory(error):
                raise
            raise PairError(f"not enough memory for a pair of {ir.shape[0]}x{ir.shape[1]} on this device") from error


# --- what a pair costs ----------------------------------------------------------------------------------------------

REPEATS = 3


def measured_costs(plan: build.Comparison, options: TestOptions, device: torch.device, *, fresh: bool) -> dict:
    """{(data set, row): what `costs.of` finds}; what was once measured on this machine is kept beside the tables."""
    path, here = options.out / ".costs.json", costs.machine(device, torch.get_num_threads())
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() and not fresh else {}
    found = {}
    rows = [(d.options, model) for d in plan.datasets for model in models_for(plan, d)]
    for dataset, model in tqdm(rows, desc="costs", dynamic_ncols=True, disable=None):
        key = f"{model_key(model, options, plan.metrics, dataset.task)} {options.costs} {here}"
        if key not in known:
            known[key] = cost(model, dataset.task, options.costs, device)
            with images.atomic_path(path) as unfinished:
                unfinished.write_text(json.dumps(known), encoding="utf-8")
        found[dataset.name, model.row] = known[key]
    return found


def cost(model: ModelOptions, task: str, size: str, device: torch.device) -> dict:
    """Of one row; nothing, and a note, where it cannot be measured."""
    width, height = map(int, size.split("x"))
    try:
        network = build.row(model, task).to(device)
        return costs.of(network, height, width, threads=torch.get_num_threads(), repeats=REPEATS)
    except (ValueError, RuntimeError) as error:
        warnings.warn(f"costs of {model.row}: {in_one_line(error)}", stacklevel=2)
        return {}


# --- the tables -----------------------------------------------------------------------------------------------------


def write_results(plan: build.Comparison, options: TestOptions, results: Results, found: dict) -> None:
    """`metrics.csv`, `summary.json` and, where there are costs in `found`, `costs.csv`; each whole or not at all."""
    with images.atomic_path(options.out / "metrics.csv") as path, path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["dataset", "model", "profile", "image", *plan.metrics])
        for r in results.records:
            scores = [r["scores"][name] for name in plan.metrics]
            writer.writerow([r["dataset"], r["model"], options.metrics.profile, r["image"], *scores])
    summary = {
        "profile": options.metrics.profile,
        "metrics": {name: {"higher_is_better": m.higher_is_better, "note": m.note} for name, m in plan.metrics.items()},
        "datasets": [
            summarise(d, [m.row for m in models_for(plan, d)], plan, results, options.metrics.reference or "")
            for d in plan.datasets
        ],
        "machines": sorted({r.get("machine", "a machine that nobody noted") for r in results.records}),
        "skipped": plan.skipped,
        "failures": results.failures,
    }
    if found:
        add_costs(summary, options, found)
    if options.metrics.profile == published.PROFILE:
        add_published(plan, summary)
    with images.atomic_path(options.out / "summary.json") as path:
        path.write_text(json.dumps(summary, indent=1, allow_nan=False), encoding="utf-8")


def add_costs(summary: dict, options: TestOptions, found: dict) -> None:
    """Into every row, with where they were measured, and into a table of their own."""
    machine = costs.machine(build.device(options.device), torch.get_num_threads())
    summary["costs"] = {"size": options.costs, "machine": machine}
    for dataset in summary["datasets"]:
        for row in dataset["rows"]:
            row["costs"] = found[dataset["name"], row["model"]]
    with images.atomic_path(options.out / "costs.csv") as path, path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["dataset", "model", *report.COSTS, "size", "machine"])
        for (dataset, model), cost in found.items():
            writer.writerow([dataset, model, *(cost.get(key) for key in report.COSTS), options.costs, machine])


def add_published(plan: build.Comparison, summary: dict) -> None:
    """Beside each row what is printed of its method; not where options or speed make it another method."""
    for dataset, found in zip(plan.datasets, summary["datasets"], strict=True):
        for model, row in zip(models_for(plan, dataset), found["rows"], strict=True):
            as_published = not model.options and model.speed == "exact"
            row["weights"] = weights_of(model, dataset.options.task)
            if as_published and (printed := published.beside(model.name, found["name"], row["mean"])):
                row["published"] = printed


def write_certificate(options: TestOptions, args: argparse.Namespace) -> None:
    """The file `certificate`, whole or not at all; nothing where none is asked for."""
    if options.certificate is None:
        return
    summary = json.loads((options.out / "summary.json").read_text(encoding="utf-8"))
    command = shlex.join(["python", "test.py", "-opt", args.opt, *args.overrides])
    with images.atomic_path(options.certificate) as path:
        Path(path).write_text(published.certificate(summary, command), encoding="utf-8")


def write_page(plan: build.Comparison, out: Path) -> None:
    """`index.html`, with copies of the sources beside it so that the folder can be sent."""
    for dataset in plan.datasets:
        options = dataset.options
        labels = (
            (Path(options.ir).name, Path(options.vis).name) if options.task == "medical" else ("infrared", "visible")
        )
        pairs = [(p.name, p.ir, p.vis) for p in dataset.pairing.pairs]
        page.add_sources(out, options.name, pairs, labels, dataset.ranges)
    page.write(out)


def summarise(dataset: build.DataSet, rows: list[str], plan: build.Comparison, results: Results, asked: str) -> dict:
    """Statistics per model over the pictures where a metric is defined, and how many those are not.

    asked: the model that the others are tested against, or "" for the first.
    """
    records = [r for r in results.records if r["dataset"] == dataset.options.name]
    by_model = {row: {r["image"]: r for r in records if r["model"] == row} for row in rows}
    reference = asked or rows[0]
    scores = {row: {image: r["scores"] for image, r in found.items()} for row, found in by_model.items()}
    directions = {name: m.higher_is_better for name, m in plan.metrics.items()}
    statistics_of = significance.table(scores, directions, reference)
    summary = {"name": dataset.options.name, "pairs": len(dataset.pairing.pairs), "reference": reference, "rows": []}
    for row, found in by_model.items():
        times = {image: r["seconds"] for image, r in found.items()}
        seconds = statistics.median(times.values()) if times else None
        counts = {"model": row, "images": len(found), "seconds": seconds, "times": times}
        summary["rows"].append(counts | statistics_of[row])
    return summary


if __name__ == "__main__":
    sys.exit(main())
