"""What a pickle would cost to read, from its opcodes alone.

A pickle may name an object again that stands in its memo. Tuples of two such names,
thirty deep, are a few hundred bytes and 2^30 nodes to whoever hashes or prints them.
"""

import io
import pickletools
from typing import Any

from lsgm.limits import TooLargeError

# Nodes that repetitions may add; files of published runs have some hundred thousand.
MAX_NODES = 10**7
_PUT = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
_GET = ("GET", "BINGET", "LONG_BINGET")


def require_cheap(file: io.BytesIO) -> None:
    """Look through the pickle at the file's place, and go back to it.

    Raises:
      TooLargeError: its repetitions unfold to more than ``MAX_NODES``.
    """
    start, repeated = file.tell(), 0
    stack: list[int | None] = []  # nodes of each object; None is a mark
    memo: dict[int, int | None] = {}
    argument: Any
    for code, argument, _ in pickletools.genops(file):
        if code.name in _PUT:
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif code.name in _GET:
            stack.append(memo[argument])
            repeated += stack[-1] or 0
        elif code.name == "MARK":
            stack.append(None)
        else:
            nodes = 1 + _pop(stack, code.stack_before)
            stack += [nodes] * len(code.stack_after)
            repeated += nodes * (code.name == "DUP")
        if repeated > MAX_NODES:
            raise TooLargeError(f"its repetitions unfold to over {MAX_NODES:,} nodes")
    file.seek(start)


def _pop(stack: list[int | None], taken: list[pickletools.StackObject]) -> int:
    """Nodes of what an opcode takes from the stack."""
    nodes = 0
    if pickletools.markobject in taken:
        while (top := stack.pop()) is not None:
            nodes += top
        taken = taken[: taken.index(pickletools.markobject)]
    return nodes + sum(stack.pop() or 0 for _ in taken)
