"""From a config to objects: names in, frozen dataclasses out, errors in words.

A piece of a config is a dictionary with a ``target``, "package.module:Class", and
the fields of that class; pieces nest. ``check`` reads a whole tree of pieces
without building anything; ``build`` constructs it. Every error is a
``ConfigError`` that names the key, the value, what is allowed, and the nearest
spelling.
"""

import collections.abc
import dataclasses
import difflib
import importlib
import inspect
import pkgutil
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from beartype.door import is_bearable
from ml_collections import ConfigDict, FieldReference
from ml_collections.config_dict import RequiredValueError

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


def nearest(name: str, names: Iterable[str]) -> str:
    """A sentence that lists ``names`` and guesses which one ``name`` meant."""
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


def locate(spec: Mapping[str, Any], key: str) -> type[Any]:
    """Import the dataclass that ``spec["target"]`` names."""
    if not is_piece(spec):
        raise ConfigError(key, plain(spec), "expected a piece with a 'target'")
    key, target = join(key, "target"), str(spec["target"])
    if not re.fullmatch(r"[\w.]+:\w+", target):
        raise ConfigError(key, target, "expected 'package.module:Class'")
    module_name, class_name = target.split(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        allowed = f"no such module ({error}); {_siblings(module_name)}"
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


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """Entries of a container, by the last part of their key."""
    if isinstance(value, Mapping):
        yield from ((str(k), v) for k, v in value.items())
    elif isinstance(value, tuple):
        yield from ((str(i), v) for i, v in enumerate(value))


def _holds_pieces(value: Any) -> bool:
    """Whether ``value`` is a piece, or a container of some."""
    return is_piece(value) or any(_holds_pieces(v) for _, v in _items(value))


def _check_value(value: Any, hint: Any, key: str) -> None:
    if is_piece(value):
        if not _accepts(hint, check(value, key)):
            raise ConfigError(
                join(key, "target"), value["target"], f"expected {_name(hint)}"
            )
    elif _holds_pieces(value):
        hints = _item_hints(value, hint)
        if hints is None:
            raise ConfigError(key, value, f"expected {_name(hint)}")
        for (name, item), item_hint in zip(_items(value), hints, strict=True):
            if item_hint is Any and not _holds_pieces(item):
                message = "expected a piece with a 'target', like its neighbours"
                raise ConfigError(join(key, name), item, message)
            _check_value(item, item_hint, join(key, name))
    elif not _bearable(_as_real(value, hint), hint):
        raise ConfigError(key, value, _expected(value, hint))


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
        return _as_real(value, hint)
    built = {name: _build_value(v, join(key, name)) for name, v in _items(value)}
    return built if isinstance(value, Mapping) else tuple(built.values())


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """The members of a union; one hint is a union of itself."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def _is_protocol(hint: Any) -> bool:
    return getattr(hint, "_is_protocol", False)


def _accepts(hint: Any, cls: type[Any]) -> bool:
    """Whether a field with this hint may hold an instance of ``cls``."""
    for option in _alternatives(hint):
        if option is Any or _is_protocol(option):
            return True
        if isinstance(option, type):
            if issubclass(cls, option):
                return True
        elif typing.get_origin(option) is collections.abc.Callable:
            return True
    return False


def _item_hints(value: Any, hint: Any) -> list[Any] | None:
    """Hints of a container's entries; None where no such container may be."""
    if not isinstance(value, Mapping | tuple):
        return None
    kind, num = (dict if isinstance(value, Mapping) else tuple), len(value)
    for option in _alternatives(hint):
        if option in (Any, kind):
            return [Any] * num
        origin, args = typing.get_origin(option), typing.get_args(option)
        if isinstance(origin, type) and issubclass(kind, origin):
            fixed = kind is tuple and origin is tuple and args[-1] is not ...
            hints = list(args) if fixed else [args[-1 if kind is dict else 0]] * num
            return hints if len(hints) == num else None
    return None


def _bearable(value: Any, hint: Any) -> bool:
    return any(_is_a(value, option) for option in _alternatives(hint))


def _is_a(value: Any, hint: Any) -> bool:
    # Plain values are never what a protocol describes, and beartype cannot tell.
    if _is_protocol(hint) or not is_bearable(value, hint):
        return False
    # Of a container, beartype looks at one entry.
    items, hints = _items(value), _item_hints(value, hint) or []
    return all(_bearable(v, h) for (_, v), h in zip(items, hints, strict=False))


def _as_real(value: Any, hint: Any) -> Any:
    """Whole numbers as real ones, alone or in containers, where the hint asks."""
    hints = _item_hints(value, hint)
    if hints is not None:
        real = [_as_real(v, h) for (_, v), h in zip(_items(value), hints, strict=True)]
        if isinstance(value, tuple):
            return tuple(real)
        return dict(zip(value, real, strict=True))
    # A bool is neither.
    whole = type(value) is int and not _bearable(value, hint)
    return float(value) if whole else value


def _expected(value: Any, hint: Any) -> str:
    options = _alternatives(hint)
    if typing.get_origin(hint) is typing.Literal:
        return nearest(value, typing.get_args(hint))
    classes = [o for o in options if isinstance(o, type) and o is not type(None)]
    if any(_is_protocol(c) or dataclasses.is_dataclass(c) for c in classes):
        return f"expected {_name(hint)}, as a dictionary with its class as 'target'"
    return f"expected {_name(hint)}"


def _name(hint: Any) -> str:
    return inspect.formatannotation(hint)
