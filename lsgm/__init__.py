"""Latent score-based generative models in JAX."""

import importlib
from typing import Any

__version__ = "0.1.0"
_TRAINED = ("LogProb", "TrainedModel", "load")


def __getattr__(name: str) -> Any:
    """``lsgm.load`` and what it returns, imported when they are asked for: a part of
    the package needs no other to be imported."""
    if name in _TRAINED:
        return getattr(importlib.import_module("lsgm.trained"), name)
    raise AttributeError(f"module 'lsgm' has no attribute {name!r}")
