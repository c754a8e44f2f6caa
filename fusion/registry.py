"""Registries: a name in a YAML file -> a class or function, and a helpful refusal where there is none.

A registry is a dictionary with a decorator. There is one for every kind of thing a user chooses by name;
there is none for what exists only once.
"""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Callable, Iterable
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin


class UnknownName(LookupError):
    """A name that nothing is registered under; the message lists what is."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`" Did you mean 'ssim'?"`, or an empty string where nothing known is close. Case does not count."""
    by_lower_case = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), by_lower_case, n=1)
    return f" Did you mean '{by_lower_case[close[0]]}'?" if close else ""


class Registry(dict):
    """Name -> class (or function) of one kind.

    >>> NETWORKS = Registry("network")
    >>> @NETWORKS.register("average")
    ... class Average: ...
    """

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def register(self, name: str) -> Callable:
        """A decorator that files what it decorates under `name`; a name is given once."""

        def file(thing):
            if name in self:
                raise ValueError(f"{self.kind} '{name}' is registered twice: {self[name]} and {thing}")
            self[name] = thing
            return thing

        return file

    def __missing__(self, name: str):
        known = ", ".join(sorted(self)) or "none"
        raise UnknownName(f"No {self.kind} named '{name}'. Known: {known}.{did_you_mean(str(name), self)}")

    def check(self, name: str, options: dict) -> None:
        """Hold `options` against the signature of `name`'s constructor, building nothing.

        Raises UnknownName for the name, ValueError for an option that the constructor does not take, one that it
        needs and did not get, or one whose value is not of the annotated type.
        """
        parameters = _named_parameters(self[name])
        for key, value in options.items():
            if key not in parameters:
                known = ", ".join(parameters) or "no options"
                hint = did_you_mean(str(key), parameters)
                raise ValueError(f"{self.kind} '{name}' takes no option '{key}'. It takes: {known}.{hint}")
            if not _fits(value, wanted := parameters[key].annotation):
                raise ValueError(f"{self.kind} '{name}': {key} must be {_in_words(wanted)}; got {value!r}")
        for key, parameter in parameters.items():
            if parameter.default is parameter.empty and key not in options:
                raise ValueError(f"{self.kind} '{name}' needs the option '{key}'")

    def build(self, name: str, options: dict | None = None):
        """`self[name](**options)` after `check`."""
        self.check(name, options or {})
        return self[name](**(options or {}))


def _named_parameters(thing: Callable) -> dict[str, inspect.Parameter]:
    """The parameters with names of their own; `*args, **kwargs` (nn.Module's) promise nothing."""
    try:
        signature = inspect.signature(thing, eval_str=True)
    except NameError:  # an annotation that is imported for type checkers only
        signature = inspect.signature(thing)
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: p for name, p in signature.parameters.items() if p.kind not in variadic}


def _fits(value: Any, wanted: Any) -> bool:
    """Whether `value` is of the annotated type. Looks at plain types and unions of them; any other fits."""
    if get_origin(wanted) in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(wanted))
    if get_origin(wanted) is Literal:
        return value in get_args(wanted)
    if wanted is float:
        return type(value) in (int, float)  # bool is an int to Python, not to a user
    if wanted is str:
        return isinstance(value, (str, os.PathLike))
    return type(value) is wanted if wanted in (bool, int, NoneType) else True


def _in_words(wanted: Any) -> str:
    if get_origin(wanted) is Literal:
        return f"one of {', '.join(map(str, get_args(wanted)))}"
    if get_origin(wanted) in (Union, UnionType):
        return " or ".join(map(_in_words, get_args(wanted)))
    return "none" if wanted is NoneType else wanted.__name__


NETWORKS = Registry("network")
OBJECTIVES = Registry("objective")
DATASETS = Registry("dataset")
METRICS = Registry("metric")
RATES = Registry("rate")
