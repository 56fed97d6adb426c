r"""What a training step needs in memory, by shape evaluation: nothing is computed.

On each device lie the whole state (parameters, averages, optimiser, statistics; exact),
the gradients of the trained groups (exact), and what the backward pass keeps of the
forward one,

    activations = KEPT * R(b),                                             (1)

where R(b) are the bytes of the batch's own arrays that the pullback of ``jax.vjp``
holds for b images, so rematerialisation counts as it is configured. XLA keeps less
than that: it computes what is elementwise again. KEPT is the middle of what eight
steps took when they ran (``experiments.plan --measure``), which was 0.67 to 0.84;
Eq. (1) is linear in b.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from lsgm.runs.train import initial_state
from lsgm.training.stage import Stage
from lsgm.vae import VAE

KEPT = 0.76
# A number that divides no other size, so that what grows with the batch is told by
# its shape.
IMAGES = 13


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on one device, and of one checkpoint.

    Attributes:
      parameters, averages, optimizer, statistics: of the state, all groups.
      gradients: of the trained groups.
      activations_per_image: Eq. (1) for b = 1.
    """

    parameters: int
    averages: int
    optimizer: int
    statistics: int
    gradients: int
    activations_per_image: float

    @property
    def state(self) -> int:
        """Bytes of the state, and so of a checkpoint."""
        return self.parameters + self.averages + self.optimizer + self.statistics

    def total(self, images: int) -> float:
        """Bytes on a device that works on so many images."""
        return self.state + self.gradients + images * self.activations_per_image

    def fitting(self, capacity: float) -> int:
        """Images on a device of so many bytes; 0 where the state alone is too
        much."""
        left = capacity - self.state - self.gradients
        return max(0, math.floor(left / self.activations_per_image))


def abstract_state(stage: Stage, vae: VAE) -> Any:
    """Shapes and types of the state that a stage starts with."""
    return jax.eval_shape(lambda key: initial_state(stage, vae, key), jax.random.key(0))


def memory(stage: Stage, vae: VAE, state: Any) -> Memory:
    """What an update of ``stage`` needs; ``state`` is from ``abstract_state``."""
    trained = {group: state.params[group] for group in stage.optimizers}
    return Memory(
        parameters=num_bytes(state.params),
        averages=num_bytes(state.ema),
        optimizer=num_bytes(state.opt),
        statistics=num_bytes(state.mutables),
        gradients=num_bytes(trained),
        activations_per_image=KEPT * residuals_per_image(stage, vae, state),
    )


def residuals_per_image(stage: Stage, vae: VAE, state: Any) -> float:
    """R(1) of Eq. (1)."""
    objective = stage.objective(vae)

    def pullback(phase: tuple[str, ...], state: Any, batch: Any) -> Any:
        x = vae.preprocess(batch)
        draws = objective.draw(state.key, IMAGES, None)

        def losses_of(trained: Any) -> Any:
            params = {**state.params, **trained}
            held = state.mutables, x, draws, state.step, None, state.averaged
            return objective(params, *held)

        trained = {group: state.params[group] for group in phase}
        return jax.vjp(losses_of, trained, has_aux=True)[1]

    batch = vae.abstract_batch(IMAGES)
    # Phases follow one another: the largest counts.
    residuals = max(
        growing_bytes(jax.eval_shape(functools.partial(pullback, phase), state, batch))
        for phase in objective.phases
    )
    jax.clear_caches()  # They keep the trace.
    return residuals / IMAGES


def growing_bytes(tree: Any) -> int:
    """Bytes of the arrays that have ``IMAGES`` in their shape."""
    leaves = jax.tree.leaves(tree)
    return num_bytes([x for x in leaves if any(n % IMAGES == 0 for n in x.shape)])


def num_bytes(tree: Any) -> int:
    """Bytes of all arrays, or shapes, in a tree; keys have none."""
    sizes = [
        leaf.size * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    ]
    return sum(sizes)
