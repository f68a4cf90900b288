"""Configs: frozen dataclasses that live beside what they configure, to and from JSON, with a digest of their content."""

import dataclasses
import hashlib
import json
import types
import typing

from lmlib.errors import ConfigError, nearest


def to_dict(config):
    """A config as a dict of plain JSON values (nested configs become dicts, tuples become lists).

    Raises:
      ConfigError: a value is not a finite number, or nothing that JSON knows.
    """
    try:
        return json.loads(json.dumps(dataclasses.asdict(config), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{type(config).__name__} cannot be written as JSON: {error}") from error


def digest(config):
    """SHA-256 of the canonical JSON of a config: the same for the same content, whatever the order of the fields."""
    return hashlib.sha256(json.dumps(to_dict(config), sort_keys=True).encode()).hexdigest()


def differences(there, here, name=""):
    """Yield what differs between two trees of plain values, a line a leaf: "config.window: 5 there, 8 here"."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted(there.keys() | here.keys()):
            yield from differences(there.get(key), here.get(key), f"{name}.{key}".lstrip("."))
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for i, (one, other) in enumerate(zip(there, here, strict=True)):
            yield from differences(one, other, f"{name}[{i}]")
    elif there != here or type(there) is not type(here):
        yield f"{name}: {json.dumps(there)} there, {json.dumps(here)} here"


def from_dict(cls, values):
    """Build a config of class `cls` from plain values, e.g. those read from JSON or given on a command line.

    Raises:
      ConfigError: a field is unknown (names the nearest one), missing, or of the wrong type. Nothing is converted in
        silence, except that an int may stand for a float.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{cls.__name__} must be a dict of its fields, got {type(values).__name__} {values!r}")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    for name in values:
        if name not in fields:
            raise ConfigError(f"{cls.__name__} has no field {name!r}{nearest(name, fields)} (fields: {', '.join(fields)})")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise ConfigError(f"{cls.__name__} needs a value for {name!r}")
    return cls(**{name: _convert(value, hints[name], f"{cls.__name__}.{name}") for name, value in values.items()})


def _convert(value, hint, name):
    """The value as its type hint wants it: exact types, but int → float, list → tuple and dict → nested config."""
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_dict(hint, value)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (hint,) = [a for a in arguments if a is not type(None)]
        return _convert(value, hint, name)
    if origin is typing.Literal:
        if value not in arguments:
            raise ConfigError(f"{name} must be one of {', '.join(map(repr, arguments))}, got {value!r}")
        return value
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_convert(v, arguments[0], f"{name}[{i}]") for i, v in enumerate(value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    kind = origin or hint
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ConfigError(f"{name} must be {kind.__name__}, got {type(value).__name__} {value!r}")
    return value
