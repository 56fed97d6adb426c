"""What XLA compiles meanwhile."""

import contextlib
import logging
from collections.abc import Iterator

START = "Compiling "


class _Names(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.names: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.startswith(START):
            self.names.append(message.removeprefix(START).split()[0])


@contextlib.contextmanager
def count_compilations() -> Iterator[list[str]]:
    """Names of the programs that are compiled inside, those from a cache among them."""
    handler = _Names()
    logger = logging.getLogger("jax")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield handler.names
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
