r"""Optimisers, learning-rate schedules and parameter averages, as config pieces.

Adam with gradient g, k the number of this update:

    m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2,
    p <- p - lr (m / (1 - b1^k) / (sqrt(v / (1 - b2^k)) + eps) + w p)      (1)

where w is decoupled weight decay; coupled decay instead adds w p to g, after
clipping. Adamax has, in place of the root,

    v <- max(b2 v, |g| + eps),   p <- p - lr m / (1 - b1^k) / v.           (2)

Learning rate at step k (0, 1, ...) with W warm-up steps out of N:

    lr = peak k / W                                             for k < W  (3)
    lr = end + (peak - end) (1 + cos(pi (k - W) / (N - W))) / 2   from W on.

Average of parameters after the update number n + 1 (n updates before it):

    ema <- d ema + (1 - d) p,   ema <- p where n = 0,                      (4)
    d = min(decay, (2 + n) / (11 + n)), from n = 0 on, with warm-up.       (5)

Sources: Kingma and Ba, arXiv 1412.6980 (1, 2); Loshchilov and Hutter, arXiv
1711.05101 and 1608.03983 (1, 3); LSGM, arXiv 2106.05931, and its published
training (2, 4); Song et al., arXiv 2011.13456 (5).
"""

import dataclasses
from typing import Any, Protocol, TypeAlias, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from lsgm.training.packing import is_packed
from lsgm.typing import Array, Float, Params, PyTree

Step: TypeAlias = ArrayLike


def _refuse(value: Any, name: str, allowed: str) -> None:
    raise ValueError(f"{name} = {value}: must be {allowed}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class WarmupCosine:
    """Learning rate by step, Eq. (3); constant after warm-up where end = peak."""

    peak: float
    end: float
    num_steps: int
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        _check_rates(self.peak, self.end)
        if not 0 <= self.warmup_steps < self.num_steps:
            _refuse(
                self.warmup_steps,
                "warmup_steps",
                f"from 0 to less than num_steps = {self.num_steps}",
            )

    def __call__(self, step: Step) -> Float[Array, ""]:
        k, warmup = jnp.asarray(step).astype(jnp.float32), self.warmup_steps
        progress = (k - warmup) / (self.num_steps - warmup)
        decayed = _cosine(progress, self.peak, self.end)
        return jnp.where(k < warmup, self.peak * k / max(warmup, 1), decayed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpochCosine:
    """LSGM's published schedule: Eq. (3) with a cosine that moves once an epoch.

    It sets out from the last rate of the warm-up, peak (1 - 1/W), not from the
    peak, and reaches ``end`` in the last epoch.
    """

    peak: float
    end: float
    num_epochs: int
    steps_per_epoch: int
    warmup_epochs: int = 0

    def __post_init__(self) -> None:
        _check_rates(self.peak, self.end)
        if self.steps_per_epoch < 1:
            _refuse(self.steps_per_epoch, "steps_per_epoch", "at least 1")
        if not 0 <= self.warmup_epochs < self.num_epochs - 1:
            _refuse(
                self.warmup_epochs,
                "warmup_epochs",
                f"from 0 to less than num_epochs - 1 = {self.num_epochs - 1}",
            )

    def __call__(self, step: Step) -> Float[Array, ""]:
        k, warmup = jnp.asarray(step).astype(jnp.float32), self._warmup_steps
        epoch = jnp.floor(k / self.steps_per_epoch) - self.warmup_epochs
        progress = epoch / (self.num_epochs - self.warmup_epochs - 1)
        start = self.peak * (1 - 1 / warmup) if warmup else self.peak
        decayed = _cosine(progress, start, self.end)
        return jnp.where(k < warmup, self.peak * k / max(warmup, 1), decayed)

    @property
    def _warmup_steps(self) -> int:
        return self.warmup_epochs * self.steps_per_epoch


LearningRate: TypeAlias = float | WarmupCosine | EpochCosine


@runtime_checkable
class OptimizerSpec(Protocol):
    """Contract of what trains a parameter group."""

    def build(self) -> optax.GradientTransformation:
        """The transformation of gradients into updates."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
    """What the optimisers share.

    Attributes:
      lr: a constant or a schedule.
      weight_decay: factor w of the parameters, spared where they have at most one
        axis (biases, normalisation scales, gains).
      decay_all: decay those too, as published.
      clip_norm: longest allowed gradient of the group; None for any.
    """

    lr: LearningRate
    beta_1: float = 0.9
    beta_2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    decay_all: bool = False
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.lr, float) and not self.lr > 0:
            _refuse(self.lr, "lr", "positive")
        for name in ("beta_1", "beta_2"):
            if not 0 <= getattr(self, name) < 1:
                _refuse(getattr(self, name), name, "from 0 to less than 1")
        if not self.eps > 0:
            _refuse(self.eps, "eps", "positive")
        if self.weight_decay < 0:
            _refuse(self.weight_decay, "weight_decay", "at least 0")
        if self.clip_norm is not None and not self.clip_norm > 0:
            _refuse(self.clip_norm, "clip_norm", "positive, or None for no clipping")

    def _chain(
        self, rescale: optax.GradientTransformation, decoupled: bool
    ) -> optax.GradientTransformation:
        parts = [rescale := _standard_promotion(rescale)]
        if self.weight_decay:
            mask = None if self.decay_all else _several_axes
            decay = optax.add_decayed_weights(self.weight_decay, mask)
            parts = [rescale, decay] if decoupled else [decay, rescale]
        if self.clip_norm is not None:
            parts.insert(0, optax.clip_by_global_norm(self.clip_norm))
        return optax.chain(*parts, optax.scale_by_learning_rate(self.lr))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Adam, Eq. (1), with decoupled or coupled weight decay."""

    decoupled: bool = True

    def build(self) -> optax.GradientTransformation:
        """The transformation of gradients into updates."""
        rescale = optax.scale_by_adam(self.beta_1, self.beta_2, self.eps)
        return self._chain(rescale, self.decoupled)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adamax(Optimizer):
    """Adamax, Eq. (2), with coupled weight decay."""

    def build(self) -> optax.GradientTransformation:
        """The transformation of gradients into updates."""
        rescale = optax.scale_by_adamax(self.beta_1, self.beta_2, self.eps)
        return self._chain(rescale, decoupled=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ema:
    """Average of parameters: Eq. (4), or with ``warmup`` Eq. (5).

    With warm-up the average starts from the parameters before the first update.
    """

    decay: float = 0.9999
    warmup: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            _refuse(self.decay, "decay", "from 0 to less than 1")

    def init(self, params: Params) -> Params:
        """The average before the first update, in buffers of its own."""
        return jax.tree.map(jnp.copy, params)

    def update(self, params: PyTree, average: PyTree, step: Step) -> PyTree:
        """The average with ``params``, which ``step`` updates came before."""
        n = jnp.asarray(step).astype(jnp.float32)
        if self.warmup:
            decay = jnp.minimum(self.decay, (2 + n) / (11 + n))
        else:
            decay = jnp.where(n == 0, 0.0, self.decay)
        return jax.tree.map(
            lambda p, a: a + (1 - decay).astype(p.dtype) * (p - a), params, average
        )


def scale_updates(
    inner: optax.GradientTransformation, factor: float
) -> optax.GradientTransformation:
    """``inner`` with its learning rate multiplied by ``factor``; its state is the
    same, so that a checkpoint of ``inner`` goes on with it."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        updates, state = inner.update(updates, state, params)
        return jax.tree.map(lambda u: u * jnp.asarray(factor, u.dtype), updates), state

    return optax.GradientTransformation(inner.init, update)


def _standard_promotion(
    inner: optax.GradientTransformation,
) -> optax.GradientTransformation:
    """``inner`` where JAX is told to refuse implicit dtype promotion: optax takes
    the power of a float by its int32 count."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        with jax.numpy_dtype_promotion("standard"):
            return inner.update(updates, state, params)

    return optax.GradientTransformation(inner.init, update)


def _cosine(progress: Array, start: float, end: float) -> Array:
    turn = jnp.pi * jnp.clip(progress, 0, 1)
    return end + 0.5 * (start - end) * (1 + jnp.cos(turn))


def _several_axes(params: PyTree) -> Any:
    return jax.tree.map(
        lambda p: p.several_axes if is_packed(p) else p.ndim > 1,
        params,
        is_leaf=is_packed,
    )


def _check_rates(peak: float, end: float) -> None:
    if not peak > 0:
        _refuse(peak, "peak", "positive")
    if not 0 <= end <= peak:
        _refuse(end, "end", f"from 0 to peak = {peak}")
