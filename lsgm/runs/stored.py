"""Configs of older layouts: what ``config.json`` and checkpoints hold, as of today.

A stored config names classes where they then were, and has the fields that they then
had. ``lsgm.moved`` knows the classes; this file knows the fields.
"""

from collections.abc import Mapping
from typing import Any

from lsgm.moved import MOVED

# Fields of an evaluation that became a measure's: its class, and the field's name
# there.
_BOUND = "lsgm.evaluation.measures.bound:HeldOutBound"
_COST = "lsgm.evaluation.measures.sampling:SamplingCost"
_PICTURES = "lsgm.evaluation.measures.pictures:Pictures"
_DISTANCES = "lsgm.evaluation.measures.distances:Distances"
_MEMORIZATION = "lsgm.evaluation.measures.memorization:Memorization"
_LATENTS = "lsgm.evaluation.measures.latents:LatentStatistics"


def upgrade(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config in today's layout; one that is in it stays as it is.

    Args:
      config: plain, as ``lsgm.config.plain`` or JSON gives it.
    """
    found = _with_moved_targets(config)
    evaluation = found.get("evaluation")
    if isinstance(evaluation, dict) and "measures" not in evaluation:
        found["evaluation"] = _with_measures(evaluation)
    return found


def _with_moved_targets(value: Any) -> Any:
    if isinstance(value, Mapping):
        found = {name: _with_moved_targets(v) for name, v in value.items()}
        if isinstance(target := found.get("target"), str):
            found["target"] = MOVED.get(target, target)
        return found
    if isinstance(value, list | tuple):
        return type(value)(map(_with_moved_targets, value))
    return value


def _with_measures(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """An evaluation whose measures were fields, and switched by ``None`` and by
    whether there is an extractor."""
    rest = dict(evaluation)

    def piece(target: str, **names: str) -> dict[str, Any]:
        fields = {new: rest.pop(old) for new, old in names.items() if old in rest}
        return {"target": target, **fields}

    bound = piece(_BOUND, num_examples="num_examples", num_draws="num_draws")
    cost = piece(_COST, timing_repeats="timing_repeats")
    distances = piece(_DISTANCES, manifolds="manifolds")
    latents = piece(_LATENTS, num_examples="latent_examples")
    likelihood = rest.pop("likelihood", None)
    memorization = rest.pop("memorization", {"target": _MEMORIZATION})
    exploration = rest.pop("exploration", None)
    compared = rest.get("extractor") is not None
    asked = (
        (bound, True),
        (likelihood, likelihood is not None),
        (cost, True),
        ({"target": _PICTURES}, True),
        (distances, compared),
        (memorization, compared and memorization is not None),
        (exploration, exploration is not None),
        (latents, latents.get("num_examples") != 0),
    )
    # A list, as in all stored configs.
    return {**rest, "measures": [measure for measure, wanted in asked if wanted]}
