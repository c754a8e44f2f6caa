"""Names and options of registered classes: what is unknown or does not fit is refused before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from torch import nn

from fusion.registry import NETWORKS, Registry, UnknownName, did_you_mean

if TYPE_CHECKING:
    from decimal import Decimal


@pytest.fixture
def tools() -> Registry:
    registry = Registry("tool")

    @registry.register("saw")
    class Saw:
        def __init__(
            self,
            *,
            teeth: int,
            length: float = 0.3,
            sharp: bool = True,
            kind: Literal["rip", "cross"] = "rip",
            owner: str | None = None,
            weights: Mapping[str, float] = (),
        ):
            self.options = (teeth, length, sharp, kind, owner, weights)

    @registry.register("stone")
    class Stone(nn.Module):
        """Its only signature is nn.Module's, *args and **kwargs."""

    @registry.register("scale")
    class Scale:
        def __init__(self, *, price: Decimal = 0):
            self.price = price

    return registry


def message(action, *arguments) -> str:
    with pytest.raises((ValueError, UnknownName)) as caught:
        action(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_unknown_name_lists_what_there_is_and_the_nearest(tools):
    assert message(lambda: tools["Swa"]) == "No tool named 'Swa'. Known: saw, scale, stone. Did you mean 'saw'?"
    assert message(lambda: tools["xylophone"]) == "No tool named 'xylophone'. Known: saw, scale, stone."
    assert message(lambda: Registry("rate")["x"]) == "No rate named 'x'. Known: none."


def test_the_networks_of_the_project():
    import fusion.networks  # noqa: F401 -- registers them

    known = ", ".join(sorted(NETWORKS))
    assert {"average", "cddfuse", "cpfusion", "gtf", "maximum", "ship", "swift"} < set(NETWORKS)
    assert message(NETWORKS.build, "cdfuse") == f"No network named 'cdfuse'. Known: {known}. Did you mean 'cddfuse'?"


def test_a_name_is_given_once(tools):
    with pytest.raises(ValueError, match=r"^tool 'saw' is registered twice: .*Saw.* and .*int"):
        tools.register("saw")(int)


def test_register_returns_what_it_decorates():
    assert Registry("x").register("int")(int) is int


def test_builds_with_defaults_and_options(tools):
    assert tools.build("saw", {"teeth": 7}).options == (7, 0.3, True, "rip", None, ())
    options = {"teeth": 7, "length": 1, "sharp": False, "kind": "cross", "owner": "me", "weights": {"a": 1}}
    assert tools.build("saw", options).options == tuple(options.values())
    assert isinstance(tools.build("stone"), nn.Module)


def test_a_path_may_stand_for_its_name(tools):
    tools.check("saw", {"teeth": 1, "owner": Path("x")})


def test_an_annotation_that_cannot_be_resolved_is_not_checked(tools):
    assert tools.build("scale", {"price": "much"}).price == "much"


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        (
            "saw",
            {"tooth": 3},
            "tool 'saw' takes no option 'tooth'. It takes: teeth, length, sharp, kind, owner, weights. "
            "Did you mean 'teeth'?",
        ),
        ("saw", {}, "tool 'saw' needs the option 'teeth'"),
        ("stone", {"args": 1}, "tool 'stone' takes no option 'args'. It takes: no options."),
        ("stone", {1: 2}, "tool 'stone' takes no option '1'. It takes: no options."),
        ("saw", {"teeth": "7"}, "tool 'saw': teeth must be int; got '7'"),
        ("saw", {"teeth": 7.0}, "tool 'saw': teeth must be int; got 7.0"),
        ("saw", {"teeth": True}, "tool 'saw': teeth must be int; got True"),
        ("saw", {"teeth": None}, "tool 'saw': teeth must be int; got None"),
        ("saw", {"teeth": 7, "length": "1e-4"}, "tool 'saw': length must be float; got '1e-4'"),
        ("saw", {"teeth": 7, "length": False}, "tool 'saw': length must be float; got False"),
        ("saw", {"teeth": 7, "sharp": "no"}, "tool 'saw': sharp must be bool; got 'no'"),
        ("saw", {"teeth": 7, "sharp": 0}, "tool 'saw': sharp must be bool; got 0"),
        ("saw", {"teeth": 7, "kind": "RIP"}, "tool 'saw': kind must be one of rip, cross; got 'RIP'"),
        ("saw", {"teeth": 7, "owner": 3}, "tool 'saw': owner must be str or none; got 3"),
    ],
)
def test_options_that_do_not_fit(tools, name, options, expected):
    assert message(tools.check, name, options) == expected
    assert message(tools.build, name, options) == expected


def test_check_builds_nothing():
    registry = Registry("bomb")

    @registry.register("bomb")
    class Bomb:
        def __init__(self, *, size: int = 1):
            raise AssertionError("built")

    registry.check("bomb", {"size": 3})


def test_nearest_name_ignores_case_and_stays_silent_when_nothing_is_near():
    assert did_you_mean("SSIM", ["ssim", "EN"]) == " Did you mean 'ssim'?"
    assert did_you_mean("qabf", ["Qabf"]) == " Did you mean 'Qabf'?"
    assert did_you_mean("zzz", ["ssim", "EN"]) == ""
    assert did_you_mean("x", []) == ""
