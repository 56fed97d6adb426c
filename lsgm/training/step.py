"""One update, written for one device with a named axis.

Every parameter group descends its own loss only: one ``jax.vjp`` of all losses,
one pullback per group. LSGM's joint and disjoint algorithms, stage 1 and a frozen
VAE are the same code with other groups and draws: all gradients are taken at the
parameters before the update, as published. Alternating players are the same code
with phases.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lsgm.elbo import ObjectiveDraws
from lsgm.objective import Aux, Objective
from lsgm.training.guard import SPOILED, all_below, all_finite
from lsgm.training.optim import Ema
from lsgm.training.packing import pack, unpack, unpack_state
from lsgm.training.state import TrainState
from lsgm.typing import Array, Batch, Params

# Parameters of at most this size: then no average of them can overflow, since their
# differences are finite.
LIMIT = float(jnp.finfo(jnp.float32).max) / 4
Update = Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array]]]


def make_update(
    objective: Objective,
    optimizers: dict[str, optax.GradientTransformation],
    ema: Ema,
    axis: str,
) -> Update:
    """The update of one device: (state, batch) -> (state, metrics), of states whose
    trees are packed (``lsgm.training.packing``).

    Gradients, statistics and metrics are averaged over ``axis``. An update is skipped
    if its losses, gradients or statistics are not finite, or if it makes parameters
    that are not, or so large that an average of them might not be. The step counter
    then moves on, everything else stays, and the metric ``skipped`` is 1.
    ``spoiled_<group>`` is 1 where the group's new parameters were at fault.
    """

    def update(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        key = jax.random.fold_in(state.key, state.step)
        x, cond = objective.model.vae.preprocess(batch), batch.get("label")
        new, metrics, healthy = state, {}, jnp.array(True)
        for i, phase in enumerate(objective.phases):
            draws = objective.draw(jax.random.fold_in(key, i), x.shape[0], axis)
            trees = _cut_trees(new, phase, axis)
            losses, grads, aux = group_gradients(
                objective, trees, phase, x, draws, axis, cond
            )
            losses, grads, aux = _mean(losses, grads, aux, trees, new, axis)
            norms = {f"grad_norm_{g}": optax.tree.norm(grads[g]) for g in grads}
            healthy &= all_finite((losses, norms, aux.mutables))
            planned = _apply(new, grads, aux.mutables, optimizers, ema)
            fit = {g: all_below(planned.params[g], LIMIT) for g in grads}
            spoiled = {f"{SPOILED}{g}": 1.0 - fit[g].astype(jnp.float32) for g in fit}
            healthy &= jnp.all(jnp.array(list(fit.values())))
            # Not a branch: there a GPU's host would wait for the predicate.
            new = _choose(healthy, planned, new)
            metrics |= {**aux.metrics, **norms} | spoiled
        metrics["skipped"] = 1.0 - healthy.astype(jnp.float32)
        return new.replace(step=state.step + 1), metrics

    return update


def group_gradients(
    objective: Objective,
    state: TrainState,
    phase: tuple[str, ...],
    x: Array,
    draws: ObjectiveDraws,
    axis: str | None,
    cond: Array | None = None,
) -> tuple[dict[str, Array], Params, Aux]:
    """Losses, and for each group of ``phase`` the gradient of its own loss, all of
    this device's examples.

    Args:
      state: of trees, not packed.

    Returns:
      (losses, gradients by group, aux).
    """
    trained = {g: state.params[g] for g in phase}

    def losses_of(trained: Params) -> Any:
        params = {**state.params, **trained}
        return objective(
            params, state.mutables, x, draws, state.step, axis, state.averaged, cond
        )

    losses, pullback, aux = jax.vjp(losses_of, trained, has_aux=True)
    zeros = jax.tree.map(jnp.zeros_like, losses)
    grads = {g: pullback({**zeros, g: jnp.ones_like(losses[g])})[0][g] for g in phase}
    return losses, grads, aux


def _cut_trees(state: TrainState, phase: tuple[str, ...], axis: str) -> TrainState:
    """The trees of a packed state, without those of its optimisers.

    Trained parameters are marked as differing between devices, so that pullbacks are
    local gradients and the mean over devices is taken once, in sight.
    """
    trained = {g: state.params[g] for g in phase}
    marked = jax.lax.pcast(trained, axis, to="varying")
    return unpack_state(state.replace(params={**state.params, **marked}, opt={}))


def _mean(
    losses: dict[str, Array],
    grads: Params,
    aux: Aux,
    trees: TrainState,
    packed: TrainState,
    axis: str,
) -> tuple[dict[str, Array], Params, Aux]:
    """Means over devices, gradients and mutables packed; one reduction a vector.
    Mutables that nobody changed are taken from ``packed``."""
    changed = {
        g: pack(tree)
        for g, tree in aux.mutables.items()
        if tree is not trees.mutables[g]
    }
    own = pack((losses, aux.metrics)), {g: pack(t) for g, t in grads.items()}, changed
    numbers, grads, changed = jax.lax.pmean(own, axis)
    losses, metrics = unpack(numbers)
    return losses, grads, Aux(metrics, {**packed.mutables, **changed})


def _choose(healthy: Array, planned: TrainState, before: TrainState) -> TrainState:
    chosen = jax.tree.map(
        functools.partial(jnp.where, healthy),
        planned.replace(key=None),
        before.replace(key=None),
    )
    return chosen.replace(key=before.key)


def _apply(
    state: TrainState,
    grads: Params,
    mutables: Params,
    optimizers: dict[str, optax.GradientTransformation],
    ema: Ema,
) -> TrainState:
    params, opt, averaged = dict(state.params), dict(state.opt), dict(state.ema)
    for g, grad in grads.items():
        updates, opt[g] = optimizers[g].update(grad, state.opt[g], state.params[g])
        params[g] = optax.apply_updates(state.params[g], updates)
        if g in averaged:
            averaged[g] = ema.update(params[g], state.ema[g], state.step)
    return state.replace(params=params, opt=opt, ema=averaged, mutables=mutables)
