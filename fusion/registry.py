"""Registries: a name in a YAML file -> a class or function, and a helpful refusal where there is none.

A registry is a dictionary with a decorator. There is one for every kind of thing a user chooses by name;
there is none for what exists only once.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable


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

        Raises UnknownName for the name, ValueError for an option that the constructor does not take or one it
        needs and did not get.
        """
        parameters = inspect.signature(self[name]).parameters
        for key in options:
            if key not in parameters:
                known = ", ".join(parameters) or "no options"
                raise ValueError(
                    f"{self.kind} '{name}' takes no option '{key}'. It takes: {known}.{did_you_mean(key, parameters)}"
                )
        for key, parameter in parameters.items():
            variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            if parameter.default is parameter.empty and not variadic and key not in options:
                raise ValueError(f"{self.kind} '{name}' needs the option '{key}'")

    def build(self, name: str, options: dict | None = None):
        """`self[name](**options)` after `check`."""
        self.check(name, options or {})
        return self[name](**(options or {}))


NETWORKS = Registry("network")
OBJECTIVES = Registry("objective")
DATASETS = Registry("dataset")
METRICS = Registry("metric")
RATES = Registry("rate")
