"""Flags that put another sampler into a checkpoint's prior."""

from absl import flags

from lsgm.evaluation import sampling
from lsgm.model import LatentModel

_SAMPLER = flags.DEFINE_string(
    "sampler",
    None,
    "Another sampler as package.module:Class, e.g. lsgm.samplers.heun:Heun.",
)
_SAMPLER_ARGS = flags.DEFINE_multi_string(
    "sampler_arg", [], "A field of that sampler as name=value; may be repeated."
)


def with_sampler(model: LatentModel) -> LatentModel:
    """The model with the sampler that the flags name.

    Raises:
      lsgm.config.ConfigError: no such sampler, or this prior has none.
    """
    spec = sampling.sampler_spec(_SAMPLER.value, _SAMPLER_ARGS.value)
    return sampling.with_sampler(model, spec)
