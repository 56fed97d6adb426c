"""What accelerators can hold and do, by their makers' data sheets.

``float32`` is what a product of single-precision matrices runs at as JAX asks for it by
default: in TF32 on Ampere and Hopper, in one bfloat16 pass on TPUs.
"""

import dataclasses

from lsgm.config import ConfigError, nearest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Device:
    """One accelerator.

    Attributes:
      memory: bytes.
      float32, bfloat16: dense peak, FLOP/s; None where the type is not supported.
      source: the data sheet.
    """

    memory: float
    float32: float
    bfloat16: float | None
    source: str


DEVICES = {
    "v100-16gb": Device(
        memory=16e9, float32=15.7e12, bfloat16=None, source="NVIDIA V100 SXM2"
    ),
    "v100-32gb": Device(
        memory=32e9, float32=15.7e12, bfloat16=None, source="NVIDIA V100 SXM2"
    ),
    "a100-40gb": Device(
        memory=40e9, float32=156e12, bfloat16=312e12, source="NVIDIA A100 SXM"
    ),
    "a100-80gb": Device(
        memory=80e9, float32=156e12, bfloat16=312e12, source="NVIDIA A100 SXM"
    ),
    "h100-80gb": Device(
        memory=80e9, float32=495e12, bfloat16=989e12, source="NVIDIA H100 SXM"
    ),
    "tpu-v4": Device(
        memory=32e9, float32=275e12, bfloat16=275e12, source="Google TPU v4"
    ),
    "tpu-v5e": Device(
        memory=16e9, float32=197e12, bfloat16=197e12, source="Google TPU v5e"
    ),
}


def device(name: str) -> Device:
    """The accelerator of that name.

    Raises:
      ConfigError: none such.
    """
    if name not in DEVICES:
        raise ConfigError("device", name, nearest(name, DEVICES))
    return DEVICES[name]
