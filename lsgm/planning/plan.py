r"""The price of an experiment before it is run, stage by stage.

With F(b) the FLOP of one update of b images on one device (``lsgm.planning.cost``), P
the device's peak and u the share of it that is reached,

    seconds per step = F(b) / (u P),   b = batch_size / devices,           (1)

so time is as good as the guess of u, and leaves out the exchange of gradients, whose
volume stands beside it. F is taken as proportional to b.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax

from lsgm.config import ConfigError
from lsgm.planning import memory
from lsgm.planning.cost import step_flop
from lsgm.planning.devices import Device
from lsgm.planning.memory import Memory
from lsgm.runs.experiment import Experiment
from lsgm.training.stage import Stage
from lsgm.vae import VAE

RESERVED = 0.08  # Of a device's memory: the runtime's own, and fragmentation.
DAY = 24 * 3600.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageCost:
    """What a stage costs whatever it runs on.

    Attributes:
      parameters: by group, numbers.
      trained: groups that are.
      latents: shapes by scale, deepest first, groups together.
      flop_per_image: of an update.
      memory: see ``lsgm.planning.memory``.
    """

    name: str
    num_steps: int
    batch_size: int
    image_bytes: int
    parameters: dict[str, int]
    trained: tuple[str, ...]
    latents: tuple[str, ...]
    flop_per_image: float
    memory: Memory

    @property
    def train_flop(self) -> float:
        """Of all updates."""
        return self.flop_per_image * self.batch_size * self.num_steps


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A stage on devices.

    Attributes:
      images: on one device.
      bytes: on one device, in all.
      fits: whether they do, ``RESERVED`` left free.
      seconds: of a step, Eq. (1).
    """

    stage: StageCost
    devices: int
    device: Device
    images: int
    bytes: float
    fits: bool
    seconds: float

    @property
    def days(self) -> float:
        """Of all steps."""
        return self.stage.num_steps * self.seconds / DAY

    @property
    def device_hours(self) -> float:
        return 24 * self.days * self.devices

    @property
    def images_per_second(self) -> float:
        """That have to be read and decoded, over all hosts."""
        return self.stage.batch_size / self.seconds

    def advice(self) -> str:
        """What to turn where it does not fit; empty where it does."""
        if self.fits:
            return ""
        held = self.stage.memory
        most = held.fitting((1 - RESERVED) * self.device.memory)
        if not most:
            return (
                f"state and gradients alone take {held.total(0) / 1e9:.1f} GB: a "
                "device with more memory, or a smaller network (prior.network.channels)"
            )
        least = math.ceil(self.stage.batch_size / most)
        return (
            f"{most} images fit on a device: {least} devices, or batch_size = "
            f"{most * self.devices}; remat=True of the networks if it is False"
        )


def costs(experiment: Experiment) -> list[StageCost]:
    """Of every stage, by shape evaluation and lowering; nothing is compiled."""
    found = []
    for name in experiment.stage_order:
        stage, vae = experiment.stages[name], experiment.vae
        state = memory.abstract_state(stage, vae)
        images = memory.IMAGES * jax.local_device_count()
        flop = step_flop(stage, vae, state, images) / images
        found.append(stage_cost(name, stage, vae, state, flop))
    return found


def stage_cost(
    name: str, stage: Stage, vae: VAE, state: Any, flop_per_image: float
) -> StageCost:
    """Of one stage, whose ``state`` is from ``lsgm.planning.memory.abstract_state``."""
    sizes = {
        group: sum(leaf.size for leaf in jax.tree.leaves(tree))
        for group, tree in state.params.items()
    }
    return StageCost(
        name=name,
        num_steps=stage.num_steps,
        batch_size=stage.batch_size,
        image_bytes=math.prod(vae.data_shape),
        parameters=sizes,
        trained=tuple(stage.optimizers),
        latents=tuple(map(_together, vae.latent_shapes)),
        flop_per_image=flop_per_image,
        memory=memory.memory(stage, vae, state),
    )


def _together(scale: Sequence[tuple[int, ...]]) -> str:
    h, w, _ = scale[0]
    return f"{h}x{w}x{sum(shape[-1] for shape in scale)}"


def plan(cost: StageCost, devices: int, device: Device, utilization: float) -> Plan:
    """A stage on so many devices of a kind.

    Raises:
      ConfigError: its batch cannot be divided.
    """
    if cost.batch_size % devices:
        allowed = f"must be divisible by the number of devices, {devices}"
        raise ConfigError(f"stages.{cost.name}.batch_size", cost.batch_size, allowed)
    images = cost.batch_size // devices
    needed = cost.memory.total(images)
    return Plan(
        stage=cost,
        devices=devices,
        device=device,
        images=images,
        bytes=needed,
        fits=needed <= (1 - RESERVED) * device.memory,
        seconds=cost.flop_per_image * images / (utilization * device.float32),
    )
