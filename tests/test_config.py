"""Configs to JSON and back: exact types, a digest of the content, and errors that name the field."""

import dataclasses
import hashlib
import json
from typing import Literal

import pytest

from lmlib.config import differences, digest, from_dict, to_dict
from lmlib.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Inner:
    width: int = 3


@dataclasses.dataclass(frozen=True)
class Config:
    size: int
    rate: float = 0.1
    name: str = "ω"
    kind: Literal["a", "b"] = "a"
    limit: int | None = None
    sizes: tuple[int, ...] = (1, 2)
    inner: Inner = Inner()
    flag: bool = False


def test_there_and_back():
    config = Config(7, rate=1e-300, limit=0, sizes=(), inner=Inner(9), flag=True)
    values = to_dict(config)
    assert values == {"size": 7, "rate": 1e-300, "name": "ω", "kind": "a", "limit": 0, "sizes": [], "inner": {"width": 9}, "flag": True}
    assert from_dict(Config, values) == config
    assert from_dict(Config, json.loads(json.dumps(values))) == config
    assert from_dict(Config, {"size": 1}) == Config(1)


def test_the_digest_is_that_of_sorted_json():
    canonical = json.dumps(dict(sorted(to_dict(Config(7)).items())), sort_keys=True)
    assert digest(Config(7)) == hashlib.sha256(canonical.encode()).hexdigest()
    assert len({digest(c) for c in (Config(7), Config(8), Config(7, limit=1), Config(7, inner=Inner(4)))}) == 4
    assert digest(from_dict(Config, dict(reversed(to_dict(Config(7)).items())))) == digest(Config(7))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"size": 1, "sise": 2}, r"Config has no field 'sise'; did you mean 'size'\? \(fields: size, rate, "),
        ({}, "Config needs a value for 'size'"),
        ({"size": 1.0}, "Config.size must be int, got float 1.0"),
        ({"size": True}, "Config.size must be int, got bool True"),
        ({"size": "1"}, "Config.size must be int, got str '1'"),
        ({"size": 1, "rate": "1e-3"}, "Config.rate must be float, got str"),
        ({"size": 1, "rate": False}, "Config.rate must be float, got bool"),
        ({"size": 1, "kind": "c"}, "Config.kind must be one of 'a', 'b', got 'c'"),
        ({"size": 1, "limit": 2.5}, "Config.limit must be int, got float"),
        ({"size": 1, "sizes": [1, "x"]}, r"Config.sizes\[1\] must be int, got str"),
        ({"size": 1, "sizes": 3}, "Config.sizes must be tuple"),
        ({"size": 1, "inner": {"widht": 1}}, "Inner has no field 'widht'; did you mean 'width'"),
        ({"size": 1, "inner": 3}, "Inner must be a dict of its fields, got int 3"),
        ({"size": 1, "flag": "no"}, "Config.flag must be bool, got str 'no'"),
    ],
)
def test_what_does_not_fit_is_named(values, says):
    with pytest.raises(ConfigError, match=says):
        from_dict(Config, values)


def test_an_int_may_stand_for_a_float():
    assert isinstance(from_dict(Config, {"size": 1, "rate": 1}).rate, float)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_what_json_does_not_know_is_refused(value):
    for function in (to_dict, digest):
        with pytest.raises(ConfigError, match="Config cannot be written as JSON"):
            function(Config(1, rate=value))


def test_differences_are_told_leaf_by_leaf():
    there = {"config": {"window": 5, "sizes": [1, 2]}, "seed": 1, "gone": "a", "flag": True}
    here = {"config": {"window": 8, "sizes": [1, 3]}, "seed": 1, "new": None, "flag": 1}
    assert list(differences(there, here)) == [
        "config.sizes[1]: 2 there, 3 here",
        "config.window: 5 there, 8 here",
        "flag: true there, 1 here",
        'gone: "a" there, null here',
    ]
    assert list(differences([1], [1, 2], "a")) == ["a: [1] there, [1, 2] here"]
    assert not list(differences(there, there))
