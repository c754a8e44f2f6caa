"""YAML (+ `a.b=value` overrides) -> typed options. An unknown key stops the run and names the nearest known one.

Only plain YAML is read (`safe_load`): a file cannot run code. The options themselves stand in `options.py`.
"""

from __future__ import annotations

import difflib
import re
import reprlib
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from fusion import places

Model = TypeVar("Model", bound=BaseModel)


def load(path: str | Path, overrides: list[str], model: type[Model]) -> Model:
    """Read a YAML file, apply `key.key=value` overrides (values are YAML; list places are numbers), check the types.

    Raises ValueError with one line `file: place: what is wrong`, OSError where the file cannot be read.
    """
    data = read_yaml(path)
    for override in overrides:
        data = _override(data, override)
    return check(data, model, path)


def check(data: dict, model: type[Model], path: str | Path) -> Model:
    """`data` as a `model`; `path` is what messages call it."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # An unknown key first: a key that is missing may be the same one, misspelt.
        problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ValueError(f"{path}: {_explain(problems[0], model)}{more}") from error


def read_yaml(path: str | Path) -> dict:
    """The mapping in a YAML file. Raises ValueError for bad YAML (with line and column), a tag, a key given twice."""
    own = places.programs() / path  # configs/x.yml of the project, from any folder
    try:
        text = (own if own.is_file() and not Path(path).exists() else Path(path)).read_text(encoding="utf-8")
    except FileNotFoundError:
        known = sorted(str(p) for p in Path(path).parent.glob("*.y*ml"))
        there = f"; there are: {', '.join(known)}" if known else ""
        raise FileNotFoundError(f"{path} is not there (looked in {Path(path).absolute().parent}){there}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file: expected YAML in UTF-8") from None
    try:
        data = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {_yaml_problem(error, text)}") from error
    if not isinstance(data, dict):
        found = "nothing" if data is None else f"a {type(data).__name__}"
        raise ValueError(f"{path}: expected `key: value` lines, found {found}")
    return data


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, of which YAML would silently keep the last, and reads 1e-4 as a
    number, as YAML 1.2 does and 1.1 does not."""

    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    raise yaml.composer.ComposerError(
                        None, None, f"the key '{key_node.value}' is given twice", key_node.start_mark
                    )
                seen.add(key_node.value)
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


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


def _override(data: dict, override: str) -> dict:
    keys, equals, text = override.partition("=")
    if not equals or not keys:
        raise ValueError(f"'{override}' is no override: expected key.key=value")
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"'{override}': the value is not YAML: {_yaml_problem(error, text)}") from error
    return _replaced(data, keys.split("."), value, override)


def _replaced(place: Any, keys: list[str], value: Any, override: str) -> Any:
    """A copy of `place` with `value` at `keys`; a copy, because a YAML alias puts one object in several places."""
    if not keys:
        return value
    key, *rest = keys
    if isinstance(place, dict):
        return {**place, key: _replaced(place.get(key, {}), rest, value, override)}
    if not isinstance(place, list):
        raise ValueError(f"'{override}': '{key}' is below a plain value, {place!r}; there is nothing to set")
    if not key.isdecimal() or int(key) >= len(place):
        raise ValueError(f"'{override}': '{key}' is no place in a list of {len(place)}; places count from 0")
    i = int(key)
    return [*place[:i], _replaced(place[i], rest, value, override), *place[i + 1 :]]


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
    got = "" if problem["type"] == "value_error" else f", got {reprlib.repr(problem['input'])}"
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
