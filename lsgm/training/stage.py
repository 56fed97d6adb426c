"""What one stage of an experiment trains, with what, and for how long."""

import dataclasses

import optax

from lsgm.model import LatentModel
from lsgm.objective import Objective, Regularization
from lsgm.objectives.kl_balance import KLSchedule
from lsgm.priors.base import DropsChannels, Prior
from lsgm.training.guard import MAX_SKIPPED
from lsgm.training.optim import Ema, OptimizerSpec, scale_updates
from lsgm.vae import VAE


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """One training run of an experiment; stages follow one another.

    Attributes:
      prior: the prior on the latents of the VAE's ``prior_scales``. The standard
        normal one makes this a VAE pre-training.
      optimizers: by parameter group. A group without one is frozen, and taken
        from the stage before.
      fresh: groups that start anew even where the stage before has them.
      kl: annealing of the KL coefficient; balance_kl: per-group balancing.
      regularization: spectral and scale penalties by group.
      disjoint: the prior is evaluated twice a step, with independent draws, for
        the encoder and for itself (LSGM's disjoint training); otherwise once.
      encoder_ema: the encoder's evaluation uses the prior's averaged parameters.
      drop_inactive: when the stage starts, latent channels with at most so many
        nats of KL to N(0, I) per image are left to the Normal prior
        (``lsgm.training.inactive``); None keeps all.
      ema: averaging of the trained groups' parameters, see ``averaged``.
      num_steps: updates; batch_size: examples per update over all devices.
      keep_best: keep beside the last states the one whose samples were nearest to
        real images, judged every ``sample_every`` steps by the Frechet distance
        of ``evaluation.selection_samples`` samples (``lsgm.training.best``).
      max_suspicious: so many suspicious steps in a row end the training or roll it
        back. An update that was skipped is suspicious, and so is a bound of more than
        max_jump times that of the first step (``lsgm.training.guard``).
      max_rollbacks: how often the stage goes back to its last healthy checkpoint, each
        time with another data order and half the learning rates, before it gives up.
      log_every, sample_every, eval_every, checkpoint_every: periods in steps.
      reference_compatible: published behaviour where it deviates from the
        mathematics, of the losses (``lsgm.objective.Objective``), the prior's
        estimators and the decoder's likelihood; and no averaging of the VAE.
    """

    prior: Prior
    optimizers: dict[str, OptimizerSpec]
    kl: KLSchedule = KLSchedule()
    num_steps: int
    batch_size: int
    balance_kl: bool = False
    regularization: dict[str, Regularization] = dataclasses.field(default_factory=dict)
    ema: Ema = Ema()
    fresh: tuple[str, ...] = ()
    disjoint: bool = False
    encoder_ema: bool = False
    drop_inactive: float | None = None
    keep_best: bool = False
    max_suspicious: int = MAX_SKIPPED
    max_jump: float = 100.0
    max_rollbacks: int = 0
    log_every: int = 100
    sample_every: int = 1000
    eval_every: int = 1000
    checkpoint_every: int = 1000
    reference_compatible: bool = False

    def __post_init__(self) -> None:
        for name in (
            "num_steps",
            "batch_size",
            "max_suspicious",
            "log_every",
            "sample_every",
            "eval_every",
            "checkpoint_every",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: must be at least 1")
        if self.num_steps >= 2**31:
            raise ValueError(
                f"num_steps = {self.num_steps}: steps are counted in 32 bits"
            )
        if not self.max_jump > 1:
            raise ValueError(f"max_jump = {self.max_jump}: must be above 1")
        if self.max_rollbacks < 0:
            raise ValueError(f"max_rollbacks = {self.max_rollbacks}: must be >= 0")
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
                f"optimizers.vae: {type(self.prior).__name__} has no bound, so it "
                "gives no cross-entropy for the encoder to descend; leave the group "
                "out to freeze the VAE"
            )
        self._check_modes()

    def _check_modes(self) -> None:
        everything = self.prior.groups and {"vae", *self.prior.groups}
        if self.disjoint and set(self.optimizers) != everything:
            raise ValueError(
                "disjoint = True: needs optimizers for vae and a prior's groups, "
                f"not only for {', '.join(self.optimizers)}"
            )
        if self.encoder_ema and not self.disjoint:
            raise ValueError("encoder_ema = True: needs disjoint = True")
        if self.drop_inactive is None:
            return
        if not isinstance(self.prior, DropsChannels):
            raise ValueError(
                f"drop_inactive = {self.drop_inactive}: this prior drops no channels"
            )
        if self.drop_inactive < 0:
            raise ValueError(f"drop_inactive = {self.drop_inactive}: must be >= 0")

    @property
    def averaged(self) -> tuple[str, ...]:
        """Trained groups whose parameters are averaged: the VAE, and what the prior
        names; as published not the VAE, which is evaluated as it stands."""
        vae = () if self.reference_compatible else ("vae",)
        averaged = (*vae, *self.prior.averaged)
        return tuple(group for group in self.optimizers if group in averaged)

    def transformations(
        self, factor: float = 1.0
    ) -> dict[str, optax.GradientTransformation]:
        """The optimisers by parameter group, their rates multiplied by ``factor``."""
        built = {group: spec.build() for group, spec in self.optimizers.items()}
        if factor == 1:
            return built
        return {group: scale_updates(tx, factor) for group, tx in built.items()}

    def objective(self, vae: VAE) -> Objective:
        """The losses that this stage descends."""
        model = LatentModel(vae=vae, prior=self.prior)
        return Objective(
            model=model.published() if self.reference_compatible else model,
            groups=tuple(self.optimizers),
            kl=self.kl,
            balance_kl=self.balance_kl,
            regularization=self.regularization,
            disjoint=self.disjoint,
            encoder_ema=self.encoder_ema,
            reference_compatible=self.reference_compatible,
        )
