"""YAML (+ `a.b=value` overrides) -> typed options. An unknown key stops the run and names the nearest known one.

Only plain YAML is read (`safe_load`): a file cannot run code. Options are pydantic models; nobody but
`fusion/build.py` receives them.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

Task = Literal["infrared-visible", "medical"]
Output = Literal["gray", "colour"]


def _folder_name(name: str) -> str:
    if not name or name in (".", "..") or any(c in name for c in '/\\:*?"<>|') or name.startswith("."):
        raise ValueError(f"'{name}' names a folder of the results: no / \\ : * ? \" < > | and no leading dot")
    return name


FolderName = Annotated[str, AfterValidator(_folder_name)]


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ModelOptions(Options):
    """One row of a comparison."""

    name: str
    """Of a registered network."""
    weights: Path | None = None
    """Ours (.safetensors) or the authors' (.pth)."""
    options: dict[str, Any] = {}
    """Constructor arguments."""
    label: FolderName | None = None
    """Row and folder name; default: the network's name."""
    datasets: list[str] | None = None
    """Run on these data sets only; default: on all."""
    optional: bool = False
    """Skip the row, and say so, where the weight file is not there, instead of stopping."""

    @property
    def row(self) -> str:
        return self.label or self.name


class DatasetOptions(Options):
    """Two folders of pictures with equal names."""

    name: FolderName
    root: Path
    ir: str = "ir"
    vis: str = "vi"
    task: Task = "infrared-visible"
    """`medical`: the colour is the functional image's (PET, SPECT), and networks take the options that suit it."""


class MetricOptions(Options):
    profile: str = "cddfuse"
    names: list[str] | None = None
    """Default: all of the profile."""


class TestOptions(Options):
    """What `test.py` does."""

    out: Path
    models: Annotated[list[ModelOptions], Field(min_length=1)]
    datasets: Annotated[list[DatasetOptions], Field(min_length=1)]
    output: Output = "colour"
    metrics: MetricOptions = MetricOptions()
    device: str = "auto"
    """`auto` (CUDA where there is one), `cpu`, `cuda`, `cuda:1`, ..."""

    @model_validator(mode="after")
    def _rows_are_told_apart(self):
        names = [d.name for d in self.datasets]
        _refuse_twice(names, "data set", "give one another name")
        for model in self.models:
            for name in model.datasets or []:
                if name not in names:
                    raise ValueError(f"model '{model.row}' asks for the data set '{name}'; there are: {', '.join(names)}")
        for name in names:
            rows = [m.row for m in self.models if m.datasets is None or name in m.datasets]
            _refuse_twice(rows, f"model on {name}", "give one a label")
        return self


def _refuse_twice(names: list[str], what: str, remedy: str) -> None:
    for name in names:
        # Names become folders; some file systems do not tell upper from lower case.
        if [n.lower() for n in names].count(name.lower()) > 1:
            raise ValueError(f"two entries called '{name}' ({what}): {remedy}")


# --- reading --------------------------------------------------------------------------------------------------------

Model = TypeVar("Model", bound=BaseModel)


def load(path: str | Path, overrides: list[str], model: type[Model]) -> Model:
    """Read a YAML file, apply `key.key=value` overrides (values are YAML; list places are numbers), check the types.

    Raises ValueError with one line `file: place: what is wrong`, OSError where the file cannot be read.
    """
    data = read_yaml(path)
    for override in overrides:
        _override(data, override)
    return check(data, model, path)


def check(data: dict, model: type[Model], path: str | Path) -> Model:
    """`data` as a `model`; `path` is what messages call it."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = error.errors()
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ValueError(f"{path}: {_explain(problems[0], model)}{more}") from error


def read_yaml(path: str | Path) -> dict:
    """The mapping in a YAML file. Raises ValueError for bad YAML (with line and column), a tag, a key given twice."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        known = sorted(str(p) for p in Path(path).parent.glob("*.y*ml"))
        there = f"; there are: {', '.join(known)}" if known else ""
        raise FileNotFoundError(f"{path} is not there (looked in {Path(path).absolute().parent}){there}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file: expected YAML in UTF-8") from None
    try:
        data = yaml.load(text, _Loader)  # noqa: S506 -- a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {_yaml_problem(error, text)}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path}: expected `key: value` lines, found {type(data).__name__}")
    return data


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.tag != "tag:yaml.org,2002:merge":
                if key_node.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key '{key_node.value}' is given twice", key_node.start_mark
                    )
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _yaml_problem(error: yaml.YAMLError, text: str) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return "not YAML: " + str(error).splitlines()[0]
    where = f"line {mark.line + 1}, column {mark.column + 1}"
    lines = text.splitlines()
    if mark.line < len(lines) and "\t" in lines[mark.line][: mark.column + 1]:
        return f"{where}: a tab cannot indent YAML; use spaces"
    problem = error.problem or "not YAML"
    if "could not determine a constructor for the tag" in problem:
        tag = problem.split("'")[1].replace("tag:yaml.org,2002:", "!!")
        return f"{where}: the tag '{tag}' is refused: only plain values are read, no code is run"
    return f"{where}: {problem}"


def _override(data: dict, override: str) -> None:
    keys, equals, text = override.partition("=")
    if not equals or not keys:
        raise ValueError(f"'{override}' is no override: expected key.key=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"'{override}': the value is not YAML: {_yaml_problem(error, text)}") from error
    *path, last = keys.split(".")
    place: Any = data
    for key in path:
        if isinstance(place, dict):
            place = place.setdefault(key, {})
        else:
            place = place[_index(place, key, override)]
    if isinstance(place, dict):
        place[last] = value
    else:
        place[_index(place, last, override)] = value


def _index(place: Any, key: str, override: str) -> int:
    if not isinstance(place, list):
        raise ValueError(f"'{override}': '{key}' is below a plain value, {place!r}; there is nothing to set")
    if not key.isdigit() or int(key) >= len(place):
        raise ValueError(f"'{override}': '{key}' is no place in a list of {len(place)}: expected 0 to {len(place) - 1}")
    return int(key)


def _explain(problem: dict, model: type[BaseModel]) -> str:
    """One pydantic problem in the house's words: `phases[0].clip: unknown key 'nrom'. Did you mean 'norm'?`"""
    loc = problem["loc"]
    if problem["type"] == "extra_forbidden":
        known = _keys_at(model, loc[:-1])
        close = difflib.get_close_matches(str(loc[-1]), known, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else f" Known: {', '.join(sorted(known))}."
        return f"{_place(loc[:-1])}unknown key '{loc[-1]}'.{hint}"
    if problem["type"] == "missing":
        return f"{_place(loc[:-1])}the key '{loc[-1]}' is missing"
    message = problem["msg"].removeprefix("Value error, ")
    got = "" if problem["type"] == "value_error" else f", got {problem['input']!r}"
    return f"{_place(loc)}{message[:1].lower() + message[1:]}{got}"


def _place(loc: tuple) -> str:
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in loc).lstrip(".")
    return f"{text}: " if text else ""


def _keys_at(model: Any, loc: tuple) -> list[str]:
    """The keys that the options at `loc` take: follow fields into the models inside lists and unions."""
    for key in loc:
        if isinstance(model, type) and issubclass(model, BaseModel) and key in model.model_fields:
            model = _inner_model(model.model_fields[key].annotation)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _inner_model(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        if (found := _inner_model(inner)) is not None:
            return found
    return None
