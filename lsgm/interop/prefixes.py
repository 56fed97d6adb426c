"""Prefixes that wrappers put before every name of a state dictionary.

PyTorch's parallel wrappers save ``module.stem.weight`` for ``stem.weight``, and its
compiler ``_orig_mod.stem.weight``.
"""

from collections.abc import Mapping
from typing import TypeVar

from lsgm.interop.torch_file import FileError

WRAPPERS = ("module.", "_orig_mod.")
Of = TypeVar("Of")


def strip_prefix(state: Mapping[str, Of], prefix: str, place: str) -> dict[str, Of]:
    """``state`` by names without ``prefix``; "" leaves them as they are.

    Args:
      place: what the state dictionary is called, for messages.

    Raises:
      FileError: a name does not begin with the prefix; or all begin with that of a
        wrapper, and there is none to strip.
    """
    if not prefix:
        for wrapper in WRAPPERS:
            if state and all(name.startswith(wrapper) for name in state):
                raise FileError(
                    f"every name of {place} begins with {wrapper!r}, which a wrapper "
                    f"has put there: add --strip_prefix={wrapper}"
                )
        return dict(state)
    for name in state:
        if not name.startswith(prefix):
            raise FileError(
                f"--strip_prefix={prefix}: {place} has {name[:80]!r}, which does not "
                "begin so"
            )
    return {name.removeprefix(prefix): value for name, value in state.items()}
