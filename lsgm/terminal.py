"""Output that never stops the work which it tells of."""

import contextlib
import errno
import os
import sys
from typing import Any

_GONE = (errno.EPIPE, errno.EIO)


class ForgivingStream:
    """A text stream whose failed writes are dropped, as where a pipe's reader or a
    terminal is gone."""

    def __init__(self, stream: Any):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write ``text``, or drop it."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError) as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        """Hand on what was written, or drop it."""
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Send what is buffered, and all that comes, nowhere if the reader is gone:
        Python would fail again when it flushes the stream at its end."""
        if getattr(error, "errno", None) not in _GONE:
            return
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def warn(text: str) -> None:
    """Print a warning on stderr."""
    print(f"WARNING: {text}", file=sys.stderr, flush=True)


def forgive_output() -> None:
    """Make stdout and stderr of this process forgiving."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, ForgivingStream):
            setattr(sys, name, ForgivingStream(stream))
