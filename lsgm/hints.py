"""Type hints at run time: whether a value, or an instance of a class, fits one.

Beyond what beartype does: every entry of a container is looked at, True is not the
number 1, a class fits a protocol if it has its members, and whole numbers may stand
where real ones are meant.
"""

import collections.abc
import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from beartype.door import is_bearable


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The members of a union; one hint is a union of itself."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def is_protocol(hint: Any) -> bool:
    return getattr(hint, "_is_protocol", False)


def items_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Entries of a container, by the last part of their key."""
    if isinstance(value, Mapping):
        yield from ((str(k), v) for k, v in value.items())
    elif isinstance(value, tuple):
        yield from ((str(i), v) for i, v in enumerate(value))


def item_hints(value: Any, hint: Any) -> list[Any] | None:
    """Hints of a container's entries; None where no such container may be."""
    if not isinstance(value, Mapping | tuple):
        return None
    kind, num = (dict if isinstance(value, Mapping) else tuple), len(value)
    for option in alternatives(hint):
        if option in (Any, kind):
            return [Any] * num
        origin, args = typing.get_origin(option), typing.get_args(option)
        if isinstance(origin, type) and issubclass(kind, origin):
            fixed = kind is tuple and origin is tuple and args[-1] is not ...
            hints = list(args) if fixed else [args[-1 if kind is dict else 0]] * num
            return hints if len(hints) == num else None
    return None


def fits(value: Any, hint: Any) -> bool:
    return any(_is_a(value, option) for option in alternatives(hint))


def _is_a(value: Any, hint: Any) -> bool:
    # Plain values are never what a protocol describes, and beartype cannot tell. To
    # Python True is the number 1.
    if is_protocol(hint) or (hint is int and isinstance(value, bool)):
        return False
    if not is_bearable(value, hint):
        return False
    # Of a container, beartype looks at one entry.
    items, hints = items_of(value), item_hints(value, hint) or []
    return all(fits(v, h) for (_, v), h in zip(items, hints, strict=False))


def as_real(value: Any, hint: Any) -> Any:
    """Whole numbers as real ones, alone or in containers, where the hint asks."""
    hints = item_hints(value, hint)
    if hints is not None:
        real = [as_real(v, h) for (_, v), h in zip(items_of(value), hints, strict=True)]
        if isinstance(value, tuple):
            return tuple(real)
        return dict(zip(value, real, strict=True))
    # A bool is neither.
    whole = type(value) is int and not fits(value, hint)
    return float(value) if whole else value


def accepts(hint: Any, cls: type[Any]) -> bool:
    """Whether a field with this hint may hold an instance of ``cls``."""
    for option in alternatives(hint):
        if option is Any:
            return True
        if is_protocol(option):
            if not missing_members(option, cls):
                return True
        elif isinstance(option, type):
            if issubclass(cls, option):
                return True
        elif typing.get_origin(option) is collections.abc.Callable:
            if _has(cls, "__call__"):
                return True
    return False


def missing_members(protocol: Any, cls: type[Any]) -> list[str]:
    """Names that a protocol asks for and instances of ``cls`` do not have."""
    named = dict.fromkeys(
        name
        for base in reversed(protocol.__mro__)
        if is_protocol(base)
        for name in (*inspect.get_annotations(base), *vars(base))
    )
    asked = [n for n in named if not n.startswith("_") or n in ("__call__", "__len__")]
    return [name for name in asked if not _has(cls, name)]


def _has(cls: type[Any], name: str) -> bool:
    # Not hasattr: every class can be called.
    fields = getattr(cls, "__dataclass_fields__", {})
    return name in fields or any(name in vars(base) for base in cls.__mro__)


def say_missing(hint: Any, cls: type[Any]) -> str:
    """What a class lacks of a protocol, as the end of a sentence."""
    protocols = [option for option in alternatives(hint) if is_protocol(option)]
    absent = missing_members(protocols[0], cls) if protocols else []
    return f"; it has no {', '.join(absent)}" if absent else ""
