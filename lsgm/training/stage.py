"""What one stage of an experiment trains, with what, and for how long."""

import dataclasses
from typing import Any

from lsgm.elbo import Objective, Regularization
from lsgm.kl_balance import KLSchedule
from lsgm.model import LatentModel
from lsgm.training.optim import Ema
from lsgm.vae import VAE


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """One training run of an experiment; stages follow one another.

    Attributes:
      prior: the prior on the deepest scale's latents. The standard normal one
        makes this a VAE pre-training.
      optimizers: by parameter group. A group without one is frozen, and taken
        from the stage before.
      fresh: groups that start anew even where the stage before has them.
      kl: annealing of the KL coefficient; balance_kl: per-group balancing.
      regularization: spectral and scale penalties by group.
      ema: averaging of the trained groups' parameters.
      num_steps: updates; batch_size: examples per update over all devices.
      log_every, sample_every, eval_every, checkpoint_every: periods in steps.
      reference_compatible: published behaviour where it deviates from the
        mathematics (``lsgm.elbo.Objective``).
    """

    prior: Any
    optimizers: dict[str, Any]
    kl: KLSchedule
    num_steps: int
    batch_size: int
    balance_kl: bool = False
    regularization: dict[str, Regularization] = dataclasses.field(default_factory=dict)
    ema: Ema = Ema()
    fresh: tuple[str, ...] = ()
    log_every: int = 100
    sample_every: int = 1000
    eval_every: int = 1000
    checkpoint_every: int = 1000
    reference_compatible: bool = False

    def __post_init__(self) -> None:
        for name in (
            "num_steps",
            "batch_size",
            "log_every",
            "sample_every",
            "eval_every",
            "checkpoint_every",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: must be at least 1")
        known = ("vae", *self.prior.groups)
        for field in ("optimizers", "regularization", "fresh"):
            for group in getattr(self, field):
                if group not in known:
                    raise ValueError(
                        f"{field}.{group}: no such parameter group; with this prior "
                        f"there are {', '.join(known)}"
                    )
        if not self.optimizers:
            raise ValueError(f"optimizers is empty: give one for any of {known}")
        if "vae" in self.optimizers and not self.prior.has_bound:
            raise ValueError(
                "optimizers.vae: this prior has no bound and cannot train a VAE; "
                "leave the group out to freeze it"
            )

    def objective(self, vae: VAE) -> Objective:
        """The losses that this stage descends."""
        return Objective(
            model=LatentModel(vae=vae, prior=self.prior),
            groups=tuple(self.optimizers),
            kl=self.kl,
            balance_kl=self.balance_kl,
            regularization=self.regularization,
            reference_compatible=self.reference_compatible,
        )
