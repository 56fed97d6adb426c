"""Which packages a stored config may name.

A ``config.json`` or a checkpoint may come from anybody, and the import of a module runs
its code. A stored config may therefore name classes of this package, and of packages
that the user trusts by a flag. The config of the user's own command is free.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from lsgm.config import ConfigError, join, plain

OWN = "lsgm"


def require_trusted(
    stored: Mapping[str, Any] | ConfigDict, trust: Sequence[str] = (), key: str = ""
) -> None:
    """Check all targets of a stored config, nested ones too; imports nothing.

    Args:
      trust: packages besides this one, as "package" or "package.part".
      key: where ``stored`` stands in the config, for error messages.

    Raises:
      ConfigError: a target is outside of these packages; names it, and the flag.
    """
    for place, target in _targets(plain(stored, key), key):
        module = target.partition(":")[0]
        if not any(_is_within(module, package) for package in (OWN, *trust)):
            package = module.partition(".")[0]
            # The text is another's: what is no name is no advice to paste.
            advice = (
                f"if you trust that package, add --trust={package}"
                if package.isidentifier()
                else "no package has such a name"
            )
            raise ConfigError(
                place,
                target,
                f"this config was stored, perhaps by somebody else, and names a class "
                f"outside of {OWN}, whose import would run code; {advice}",
            )


def packages_of(config: Mapping[str, Any] | ConfigDict) -> tuple[str, ...]:
    """The packages besides this one that a config of the user's names, sorted: those to
    trust when the config is read again from where it was stored."""
    modules = (target.partition(":")[0] for _, target in _targets(plain(config), ""))
    return tuple(sorted({module.partition(".")[0] for module in modules} - {OWN}))


def _is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _targets(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every target in a tree of containers, by its key."""
    if isinstance(value, Mapping):
        if "target" in value:
            yield join(key, "target"), str(value["target"])
        items = value.items()
    elif isinstance(value, tuple):
        items = enumerate(value)
    else:
        return
    for name, item in items:
        yield from _targets(item, join(key, str(name)))
