"""For commands that evaluate shapes here, of runs that are made elsewhere."""

import gc

import jax
from absl import logging

# Tracing makes millions of objects that stay; to look among them for garbage at
# Python's default of every 700 takes a third of its time.
OBJECTS_BETWEEN_COLLECTIONS = 100_000


def prepare() -> None:
    """Leave accelerators alone, and be quick and quiet."""
    logging.set_verbosity(logging.WARNING)
    jax.config.update("jax_platforms", "cpu")
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
