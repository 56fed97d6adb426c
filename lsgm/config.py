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
import math
import pkgutil
import re
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict, FieldReference
from ml_collections.config_dict import RequiredValueError

from lsgm.hints import (
    accepts,
    alternatives,
    as_real,
    fits,
    is_protocol,
    item_hints,
    items_of,
    say_missing,
)
from lsgm.limits import cut
from lsgm.moved import renew


class ConfigError(ValueError):
    """A config that cannot run: names the key, the value, and what is allowed."""

    def __init__(self, key: str, value: Any, allowed: str):
        super().__init__(f"{join('config', key)} = {cut(repr(value))}: {allowed}")
        self.key = key
        self._given = (key, value, allowed)

    def __reduce__(self):
        """Travels between processes."""
        return type(self), self._given


def nearest(name: object, names: Iterable[object]) -> str:
    """A sentence that lists ``names`` and guesses which one ``name``, whatever was
    given, meant."""
    names = sorted(map(str, names))
    close = difflib.get_close_matches(str(name), names, n=1)
    guess = f"; did you mean {close[0]!r}?" if close else ""
    return f"allowed are {', '.join(names)}{guess}"


def build(spec: Any, key: str = "", **extra: Any) -> Any:
    """Construct the piece that ``spec`` names, its nested pieces first.

    Args:
      spec: ``{"target": "package.module:Class", field: value, ...}``, a dictionary
        or a ConfigDict.
      key: where the piece stands in the config, for error messages.
      extra: fields that the caller supplies instead of the config.

    Raises:
      ConfigError: unknown target, unknown or missing field, wrong type, or a
        value that the class itself refuses.
    """
    spec = renew(plain(spec, key))
    check(spec, key, given=extra)
    return _construct(spec, key, **extra)


def check(spec: Any, key: str = "", given: Iterable[str] = ()) -> type[Any]:
    """Check names and types of a piece and of those nested in it.

    Returns:
      The class that ``spec`` names.

    Raises:
      ConfigError: as ``build``, without constructing anything.
    """
    spec = renew(plain(spec, key))
    cls = locate(spec, key)
    known = fields_of(cls)
    for name, value in spec.items():
        if name == "target":
            continue
        if name not in known:
            raise ConfigError(join(key, name), value, nearest(name, known))
        _check_value(value, known[name].hint, join(key, name))
    absent = {n for n, f in known.items() if f.required} - {*spec, *given}
    if absent:
        missing = ", ".join(n for n in known if n in absent)
        raise ConfigError(key, spec["target"], f"missing {missing}")
    return cls


def join(key: str, name: str) -> str:
    """Dotted path of ``name`` under ``key``; either may be empty."""
    return f"{key}.{name}" if key and name else key or name


def check_name(key: str, name: Any) -> None:
    """Refuse a name that is no identifier: folders and files are named so.

    Raises:
      ConfigError: with ``key``.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_]\w{0,63}", name, re.A):
        message = "expected a name of 1 to 64 letters, digits and _, no digit first"
        raise ConfigError(key, name, message)


def locate(spec: Mapping[str, Any], key: str) -> type[Any]:
    """Import the dataclass that ``spec["target"]`` names."""
    if not is_piece(spec):
        raise ConfigError(key, plain(spec), "expected a piece with a 'target'")
    key, target = join(key, "target"), str(spec["target"])
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", target):
        raise ConfigError(key, target, "expected 'package.module:Class'")
    module_name, class_name = target.split(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        allowed = f"no such module ({error}); {_siblings(module_name)}"
        raise ConfigError(key, target, allowed) from error
    except (Exception, SystemExit) as error:
        what = f"{type(error).__name__}: {error}"
        allowed = f"its module cannot be imported ({what}); mend it, or name another"
        raise ConfigError(key, target, allowed) from error
    cls = getattr(module, class_name, None)
    if not (inspect.isclass(cls) and dataclasses.is_dataclass(cls)):
        own = (n for n, v in vars(module).items() if _is_target(v, module_name))
        raise ConfigError(key, target, nearest(class_name, own))
    if not _is_own(cls, module_name):
        message = f"is only imported there: name {cls.__module__}:{cls.__qualname__}"
        raise ConfigError(key, target, message)
    if inspect.isabstract(cls):
        raise ConfigError(key, target, "abstract: name one of its subclasses")
    return cls


class Field(typing.NamedTuple):
    """What a class says of one of its fields."""

    hint: Any
    required: bool


def fields_of(cls: type[Any]) -> dict[str, Field]:
    """The fields of a dataclass (a Linen module is one), by name."""
    hints = typing.get_type_hints(cls)
    fields = [f for f in dataclasses.fields(cls) if f.init]
    linen = {"parent", "name"}
    if linen <= {f.name for f in fields}:
        fields = [f for f in fields if f.name not in linen]
    return {
        f.name: Field(
            hints.get(f.name, Any),
            f.default is dataclasses.MISSING
            and f.default_factory is dataclasses.MISSING,
        )
        for f in fields
    }


def is_piece(value: Any) -> bool:
    """Whether ``value`` is a dictionary that names a class."""
    return isinstance(value, Mapping | ConfigDict) and "target" in value


def plain(value: Any, key: str = "") -> Any:
    """``value`` with config containers turned into dicts and tuples.

    Raises:
      ConfigError: a placeholder, somewhere in it, was never given a value.
    """
    if isinstance(value, FieldReference):
        try:
            return plain(value.get(), key)
        except RequiredValueError as error:
            raise ConfigError(key, None, "a value has to be given") from error
    if isinstance(value, ConfigDict):
        value = dict(value.items(preserve_field_references=True))
    if isinstance(value, Mapping):
        return {k: plain(v, join(key, str(k))) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return tuple(plain(v, join(key, str(i))) for i, v in enumerate(value))
    return value


def _siblings(module_name: str) -> str:
    """What stands beside a module that is not there."""
    parent, _, name = module_name.rpartition(".")
    if not parent:
        return "expected 'package.module:Class'"
    try:
        path = getattr(importlib.import_module(parent), "__path__", [])
    except ImportError:
        return _siblings(parent)
    return nearest(name, (m.name for m in pkgutil.iter_modules(path)))


def _is_own(cls: type[Any], module_name: str) -> bool:
    """Whether a class is defined in the package of the module that it is named by."""
    packages = {name.partition(".")[0] for name in (cls.__module__, module_name)}
    return len(packages) == 1


def _is_target(value: Any, module_name: str) -> bool:
    """Whether ``value`` is a class of that module that a config can name."""
    return (
        inspect.isclass(value)
        and value.__module__ == module_name
        and dataclasses.is_dataclass(value)
        and not inspect.isabstract(value)
    )


def _holds_pieces(value: Any) -> bool:
    """Whether ``value`` is a piece, or a container of some."""
    return is_piece(value) or any(_holds_pieces(v) for _, v in items_of(value))


def _check_value(value: Any, hint: Any, key: str) -> None:
    if is_piece(value):
        cls = check(value, key)
        if not accepts(hint, cls):
            message = f"expected {_name(hint)}" + say_missing(hint, cls)
            raise ConfigError(join(key, "target"), value["target"], message)
    elif _holds_pieces(value):
        hints = item_hints(value, hint)
        if hints is None:
            raise ConfigError(key, value, f"expected {_name(hint)}")
        for (name, item), item_hint in zip(items_of(value), hints, strict=True):
            if item_hint is Any and not _holds_pieces(item):
                message = "expected a piece with a 'target', like its neighbours"
                raise ConfigError(join(key, name), item, message)
            _check_value(item, item_hint, join(key, name))
    else:
        _check_finite(value, key)
        if not fits(as_real(value, hint), hint):
            raise ConfigError(key, value, _expected(value, hint))


def _check_finite(value: Any, key: str) -> None:
    """Refuse numbers that are infinite, NaN, or beyond floating point, wherever."""
    for name, item in items_of(value):
        _check_finite(item, join(key, name))
    if isinstance(value, int | float):
        try:
            finite = math.isfinite(value)
        except OverflowError:
            finite = False
        if not finite:
            raise ConfigError(key, value, "expected a finite number")


def _construct(spec: Mapping[str, Any], key: str, **extra: Any) -> Any:
    cls = locate(spec, key)
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
        raise _refusal(spec, key, str(error)) from error


def _refusal(spec: Mapping[str, Any], key: str, message: str) -> ConfigError:
    """A class's own complaint, at the field that its first word names."""
    path = re.split(r"[^\w.]", message, maxsplit=1)[0].rstrip(".")
    value = spec
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is None:
        return ConfigError(key, spec["target"], message)
    return ConfigError(
        join(key, path), value, message.removeprefix(f"{path} = {value!r}: ")
    )


def _build_value(value: Any, key: str, hint: Any = Any) -> Any:
    if is_piece(value):
        return _construct(value, key)
    if not _holds_pieces(value):
        return as_real(value, hint)
    built = {name: _build_value(v, join(key, name)) for name, v in items_of(value)}
    return built if isinstance(value, Mapping) else tuple(built.values())


def _expected(value: Any, hint: Any) -> str:
    options = alternatives(hint)
    if typing.get_origin(hint) is typing.Literal:
        return nearest(value, typing.get_args(hint))
    classes = [o for o in options if isinstance(o, type) and o is not type(None)]
    if any(is_protocol(c) or dataclasses.is_dataclass(c) for c in classes):
        return f"expected {_name(hint)}, as a dictionary with its class as 'target'"
    return f"expected {_name(hint)}"


def _name(hint: Any) -> str:
    return inspect.formatannotation(hint)
