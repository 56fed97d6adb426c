"""From a config to objects: names in, frozen dataclasses out, errors in words.

A piece of a config is a dictionary with a ``target``, "package.module:Class", and
the fields of that class; pieces nest. ``check`` reads a whole tree of pieces
without building anything; ``build`` constructs it. Every error is a
``ConfigError`` that names the key, the value, what is allowed, and the nearest
spelling.
"""

import dataclasses
import difflib
import importlib
import inspect
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from beartype.door import is_bearable
from ml_collections import ConfigDict


class ConfigError(ValueError):
    """A config that cannot run: names the key, the value, and what is allowed."""

    def __init__(self, key: str, value: Any, allowed: str):
        super().__init__(f"config.{key} = {value!r}: {allowed}")
        self.key = key


def nearest(name: str, names: Iterable[str]) -> str:
    """A sentence that lists ``names`` and guesses which one ``name`` meant."""
    names = sorted(map(str, names))
    close = difflib.get_close_matches(str(name), names, n=1)
    guess = f"; did you mean {close[0]!r}?" if close else ""
    return f"allowed are {', '.join(names)}{guess}"


def build(spec: Mapping[str, Any], key: str = "", **extra: Any) -> Any:
    """Construct the piece that ``spec`` names, its nested pieces first.

    Args:
      spec: ``{"target": "package.module:Class", field: value, ...}``.
      key: where the piece stands in the config, for error messages.
      extra: fields that the caller supplies instead of the config.

    Raises:
      ConfigError: unknown target, unknown or missing field, wrong type, or a
        value that the class itself refuses.
    """
    cls = check(spec, key, given=extra)
    known = fields_of(cls)
    fields = {
        name: _build_value(value, join(key, name), known[name].hint)
        for name, value in spec.items()
        if name != "target"
    }
    try:
        return cls(**fields, **extra)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(key, dict(fields), str(error)) from error


def check(
    spec: Mapping[str, Any], key: str = "", given: Iterable[str] = ()
) -> type[Any]:
    """Check names and types of a piece and of those nested in it.

    Returns:
      The class that ``spec`` names.

    Raises:
      ConfigError: as ``build``, without constructing anything.
    """
    cls = locate(spec, key)
    known = fields_of(cls)
    for name, value in spec.items():
        if name == "target":
            continue
        here = join(key, name)
        if name not in known:
            raise ConfigError(here, plain(value), nearest(name, known))
        if _holds_pieces(value):
            _check_value(value, here)
        elif not _fits(plain(value), known[name].hint):
            hint = inspect.formatannotation(known[name].hint)
            raise ConfigError(here, plain(value), f"expected {hint}")
    missing = [n for n, f in known.items() if f.required]
    missing = [n for n in missing if n not in spec and n not in set(given)]
    if missing:
        raise ConfigError(key, spec["target"], f"missing {', '.join(missing)}")
    return cls


def join(key: str, name: str) -> str:
    """Dotted path of ``name`` under ``key``."""
    return f"{key}.{name}" if key else name


def locate(spec: Mapping[str, Any], key: str) -> type[Any]:
    """Import the class that ``spec["target"]`` names."""
    if not is_piece(spec):
        raise ConfigError(key, plain(spec), "expected a piece with a 'target'")
    target = spec["target"]
    module_name, _, class_name = str(target).partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            join(key, "target"), target, f"no such module ({error})"
        ) from error
    cls = getattr(module, class_name, None)
    if not inspect.isclass(cls):
        names = [n for n, v in vars(module).items() if inspect.isclass(v)]
        raise ConfigError(join(key, "target"), target, nearest(class_name, names))
    return cls


class Field(typing.NamedTuple):
    """What a class says of one of its fields."""

    hint: Any
    required: bool


def fields_of(cls: type[Any]) -> dict[str, Field]:
    """The fields of a dataclass (a Linen module is one), by name."""
    hints = typing.get_type_hints(cls)
    return {
        f.name: Field(
            hints.get(f.name, Any),
            f.default is dataclasses.MISSING
            and f.default_factory is dataclasses.MISSING,
        )
        for f in dataclasses.fields(cls)
        if f.init and f.name not in ("parent", "name")
    }


def is_piece(value: Any) -> bool:
    """Whether ``value`` is a dictionary that names a class."""
    return isinstance(value, Mapping) and "target" in value


def plain(value: Any) -> Any:
    """``value`` with config containers turned into dicts and tuples."""
    if isinstance(value, ConfigDict):
        # A ConfigDict is no Mapping; its items follow field references.
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return tuple(map(plain, value))
    return value


def _holds_pieces(value: Any) -> bool:
    """Whether ``value`` is a piece, or a dictionary of pieces by name."""
    return is_piece(value) or (
        isinstance(value, Mapping) and any(map(_holds_pieces, value.values()))
    )


def _check_value(value: Any, key: str) -> None:
    if is_piece(value):
        check(value, key)
    else:
        for name, piece in value.items():
            _check_value(piece, join(key, name))


def _build_value(value: Any, key: str, hint: Any = Any) -> Any:
    if is_piece(value):
        return build(value, key)
    if _holds_pieces(value):
        return {name: _build_value(v, join(key, name)) for name, v in value.items()}
    return _as_real(plain(value), hint)


def _fits(value: Any, hint: Any) -> bool:
    return is_bearable(_as_real(value, hint), hint)


def _as_real(value: Any, hint: Any) -> Any:
    """A whole number for a real field is fine, as that; a bool is neither."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if whole and not is_bearable(value, hint) else value
