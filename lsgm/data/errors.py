"""What cannot be used of a data set, in the words of the caller."""

from typing import Any


class DataError(ValueError):
    """Data that cannot be used: names the argument, its value, and why.

    Attributes:
      argument: what the caller passed: a field of a source or of ``Data``, or an
        argument such as ``split``.
      value: its value, or the file below it that is at fault.
      reason: why it cannot be used, and what to do.
    """

    def __init__(self, argument: str, value: Any, reason: str):
        super().__init__(f"{argument} = {value!r}: {reason}")
        self.argument, self.value, self.reason = argument, value, reason

    def __reduce__(self):
        """Travels between processes."""
        return type(self), (self.argument, self.value, self.reason)
