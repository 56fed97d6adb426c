"""Packages that only some users need, imported where they are used."""

import importlib
from typing import Any


class MissingExtra(ImportError):
    """An optional package is not installed; says what needs it and how to get it."""


def require(module: str, extra: str, why: str) -> Any:
    """Import ``module``, which the extra ``extra`` of this package installs.

    Args:
      why: what needs it, as the beginning of a sentence: "reading LMDB".

    Raises:
      MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise MissingExtra(
            f"{why} needs the package {package}: pip install '.[{extra}]'"
        ) from error
