"""The options of the two programs, as types: what a YAML file may say, and what it means by default.

Nobody but `build.py` and `build_training.py` receives them. `config.py` reads files into them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from fusion.reading import of_pair

Task = Literal["infrared-visible", "medical"]
Output = Literal["gray", "colour"]


NO_FOLDER = '/\\:*?"<>|'


def _folder_name(name: str) -> str:
    if not name or any(c in name for c in NO_FOLDER) or name.startswith(".") or not name.isprintable():
        raise ValueError(f"{name!r} names a folder of the results: none of {NO_FOLDER} and no leading dot")
    return name


FolderName = Annotated[str, AfterValidator(_folder_name)]


def _range(how: str | tuple[float, float]) -> str | tuple[float, float]:
    of_pair(how)
    return how


RangeText = Annotated[str | tuple[float, float], AfterValidator(_range)]


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ModelOptions(Options):
    """One row of a comparison."""

    name: str
    """Of a registered network."""
    weights: Path | None = None
    """Ours or the authors'; default: the shipped ones; `none`: the untrained network."""
    options: dict[str, Any] = {}
    """Constructor arguments."""
    label: FolderName | None = None
    """Row and folder name; default: the network's name."""
    datasets: Annotated[list[str], Field(min_length=1)] | None = None
    """Run on these data sets only; default: on all."""
    speed: Literal["exact", "bf16", "fast", "compiled"] = "exact"
    max_memory: int | str | None = None
    """How pictures are fused, as `fusion.load` takes them."""
    optional: bool = False
    """Skip the row, and say so, where the weight file is not there, instead of stopping."""

    @property
    def row(self) -> str:
        return self.label or self.name


class DatasetOptions(Options):
    """Two folders of pictures, or of folders of pictures, with equal names."""

    name: FolderName
    root: Path
    ir: str = "ir"
    vis: str = "vi"
    match: str | None = None
    """How the names of partners differ, `IR*=VIS*`; default: they are equal, or one rule pairs them all."""
    task: Task = "infrared-visible"
    """`medical`: the colour is the functional image's (PET, SPECT), and networks take the options that suit it."""
    range: RangeText = "auto"
    """What becomes black and white, `IR` or `IR,VIS`: auto, full, percentile, LOW..HIGH or [low, high]."""


class MetricOptions(Options):
    profile: str = "cddfuse"
    names: Annotated[list[str], Field(min_length=1)] | None = None
    """Default: all of the profile."""


class ComparedMetricOptions(MetricOptions):
    reference: str | None = None
    """The row that the others are tested against; default: the first that runs."""


class TestOptions(Options):
    """What `test.py` does."""

    out: Path
    models: Annotated[list[ModelOptions], Field(min_length=1)]
    datasets: Annotated[list[DatasetOptions], Field(min_length=1)]
    output: Output = "colour"
    metrics: ComparedMetricOptions = ComparedMetricOptions()
    device: str = "auto"
    """`auto` (CUDA where there is one), `cpu`, `cuda`, `cuda:1`, ..."""
    workers: PositiveInt = 1
    """Processes that score pictures; 1: the one that fuses them."""
    certificate: Path | None = None
    """Markdown file to write, ours beside what papers print, cell by cell."""
    costs: Annotated[str, Field(pattern=r"^[1-9]\d*x[1-9]\d*$")] | None = None
    """Width x height of a pair, as 640x480: tables also say what it costs each model, parameters, FLOPs, seconds and
    peak memory, measured at the end, each in a process of its own."""

    @model_validator(mode="after")
    def _rows_are_told_apart(self):
        names = [d.name for d in self.datasets]
        _refuse_twice(names, "data set", "give one another name")
        for model in self.models:
            for name in model.datasets or []:
                if name not in names:
                    raise ValueError(f"model '{model.row}' asks for data set '{name}'; there are: {', '.join(names)}")
        for name in names:
            rows = [m.row for m in self.models if m.datasets is None or name in m.datasets]
            _refuse_twice(rows, f"model on {name}", "give one a label")
        if self.certificate and self.metrics.profile != "cddfuse":
            raise ValueError(f"certificate: rows are printed in profile cddfuse, not {self.metrics.profile}")
        rows, reference = [m.row for m in self.models], self.metrics.reference
        if reference not in (None, *rows):
            raise ValueError(f"metrics.reference: no model called '{reference}'; there are: {', '.join(rows)}")
        return self


def _refuse_twice(names: list[str], what: str, remedy: str) -> None:
    for name in names:
        # Names become folders; some file systems do not tell upper from lower case.
        if [n.lower() for n in names].count(name.lower()) > 1:
            raise ValueError(f"two entries called '{name}' ({what}): {remedy}")


def _length(value: int | str) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(value, str) and re.fullmatch(r"[1-9]\d* (steps?|epochs?)", value):
        return value
    raise ValueError(f"{value!r} is no length: expected steps (5000) or epochs ('40 epochs')")


class NamedOptions(Options):
    """Something registered, by name, and its constructor arguments."""

    name: str
    options: dict[str, Any] = {}


class ObjectiveOptions(NamedOptions):
    weights: dict[str, float]
    """One for every term."""


class ClipOptions(Options):
    norm: PositiveFloat
    """Largest L2 norm of each part's gradient."""


Length = Annotated[int | str, AfterValidator(_length)]
"""Steps (5000) or epochs ("40 epochs")."""


class PhaseOptions(Options):
    name: str
    length: Length
    objective: ObjectiveOptions
    trains: list[str] | None = None
    """Parts of the network; default: those of the objective."""
    clip: ClipOptions | None = None


class RateOptions(NamedOptions):
    """A schedule of torch or timm by class name, run by each part on its own count."""

    lr: PositiveFloat
    unit: Literal["step", "epoch"] = "step"
    """What the schedule's options count."""
    floor: NonNegativeFloat = 0
    warmup: NonNegativeInt = 0
    """Steps of linear rise."""


class DataOptions(NamedOptions):
    batch_size: PositiveInt
    """Of all processes together, per step; with accumulation, per backward pass."""
    workers: NonNegativeInt = 2
    """Reading threads."""


class ValidationOptions(Options):
    every: NonNegativeInt = 1000
    """Steps; 0: at the end only."""
    datasets: Annotated[list[DatasetOptions], Field(min_length=1)]
    limit: PositiveInt | None = None
    """Evenly spread pairs of each data set; default: all."""
    metrics: MetricOptions = MetricOptions()
    best: str = "VIF"
    """The metric that `best.pt` is best by, in the metric's own direction."""
    pictures: NonNegativeInt = 3
    """How many pairs are pictured."""


class TrainOptions(Options):
    """What `train.py` does."""

    name: FolderName
    network: NamedOptions
    weights: Path | None = None
    """Start from these instead of from scratch."""
    data: DataOptions
    phases: list[PhaseOptions]
    optimizer: NamedOptions = NamedOptions(name="adam")
    """By timm's name."""
    rate: RateOptions
    seed: NonNegativeInt = 0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """`auto`: bf16 where the device computes in it, else fp32. Losses are always fp32."""
    device: str = "auto"
    accumulation: PositiveInt = 1
    """Backward passes per step."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of averaged weights, which are then validated and delivered."""
    compile: bool | Literal["auto"] = "auto"
    """By torch.compile; `auto`: on a GPU where Triton and a C compiler are."""
    deterministic: bool = False
    """On a GPU: the same numbers from every run, as far as PyTorch has such kernels; slower."""
    checkpointing: bool = False
    """Compute activations twice to store fewer: slower, for small cards."""
    log_every: PositiveInt = 20
    save_every: PositiveInt = 1000
    keep: PositiveInt = 3
    """Checkpoints."""
    patience: PositiveInt = 20
    """Steps in a row with a loss that is not finite before giving up."""
    validation: ValidationOptions | None = None
    deliver: Literal["last", "best"] = "last"
    """Which weights become models/NAME.safetensors."""
