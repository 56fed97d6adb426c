"""Numbers of this code itself, for where the published ones are absent.

    python -m tests.golden.own

writes ``tests/golden/own.npz`` anew: what each case below gives for seeded inputs,
parameters and keys. The file is a memory, not a truth: make it anew only with a
change that is meant to move numbers, and say in the commit which moved and why.
Parameters and inputs are NumPy's, draws are JAX's threefry: both are the same
everywhere.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax

from lsgm.networks.embeddings import Positional
from lsgm.networks.ncsnpp import NCSNpp
from lsgm.networks.nvae import NVAE
from lsgm.objectives.kl_balance import KLSchedule, balance, group_weights
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.sdes.base import SDE
from lsgm.sdes.geometric import GeometricVPSDE
from lsgm.sdes.power import PowerVPSDE
from lsgm.sdes.subvpsde import SubVPSDE
from lsgm.sdes.vesde import VESDE
from lsgm.sdes.vpsde import VPSDE
from lsgm.training.optim import Adam, Adamax, Ema, WarmupCosine
from tests import small

FILE = pathlib.Path(__file__).with_name("own.npz")
Numbers = dict[str, Any]
SDES = (VPSDE(), GeometricVPSDE(), PowerVPSDE(), SubVPSDE(), VESDE(var_max=50.0))


def normal(seed: int, *shape: int) -> jax.Array:
    """Normal numbers that NumPy draws."""
    drawn = np.random.default_rng(seed).standard_normal(shape)
    return jnp.asarray(drawn, jnp.float32)


def randomize(shapes: Any) -> Any:
    """A tree of these shapes with numbers around one (scales, variances) or zero (the
    rest); the place of a leaf's path in the alphabet is its seed."""
    flat = flax.traverse_util.flatten_dict(shapes, sep="/")
    drawn = {
        path: float("scale" in path or "var" in path)
        + 0.1 * normal(seed, *flat[path].shape)
        for seed, path in enumerate(sorted(flat))
    }
    return flax.traverse_util.unflatten_dict(drawn, sep="/")


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(function, compiler_options=small.QUICK)


def processes() -> Numbers:
    """Kernels of every process, from near t = 0 to its end."""
    u, eps, t = normal(0, 4, 3), normal(1, 4, 3), jnp.array([1e-4, 0.1, 0.6, 1.0])

    def kernels(sde: SDE) -> Numbers:
        return {
            "mean": sde.mean(u, t),
            "noise": sde.scale_noise(eps, t),
            "g2": sde.g2(t),
            "normal_eps": sde.normal_eps(u, t),
            "normal_error": sde.normal_error(t),
            "flow": sde.probability_flow(u, t, eps),
        }

    return {type(sde).__name__: kernels(sde) for sde in SDES}


def objectives() -> Numbers:
    """Losses and metrics of joint and of disjoint training, in all their terms."""
    vae = small.vae()
    params, mutables = small.variables()
    x = vae.preprocess(small.batch())
    found = {}
    for name, disjoint in (("joint", False), ("disjoint", True)):
        objective = small.stage(disjoint=disjoint).objective(vae)

        def losses(params: Any, objective: Any = objective) -> Numbers:
            draws = objective.draw(jax.random.key(3), len(x))
            by_group, aux = objective(params, mutables, x, draws, jnp.int32(2))
            return {"losses": by_group, "metrics": aux.metrics}

        found[name] = compiled(losses)(params)
    return found


def nvae() -> Numbers:
    """Latents, their densities and the likelihood's parameters, of two scales."""
    network = NVAE(
        base_channels=4,
        channel_mult=(1, 1, 2),
        num_scales=2,
        groups_per_scale=1,
        latents_per_group=2,
        num_outputs=2,
        cell="res_mbconv",
        num_flows=1,
        input_skip=True,
        preprocess_cells=1,
        postprocess_cells=1,
    )
    x = jnp.tanh(normal(9, 1, 8, 8, 3))
    noise = (normal(10, 1, 2, 2, 2), normal(11, 1, 4, 4, 2))
    shapes = jax.eval_shape(
        lambda: network.init(jax.random.key(0), x, noise, train=False)
    )
    variables = {name: randomize(shapes[name]) for name in ("params", "batch_stats")}
    run = compiled(lambda v: network.apply(v, x, noise, train=False))
    z, log_q, out = run(variables)
    return {"z": z, "log_q": [q.sum() for q in log_q], "out": out[0, ::3, ::3]}


def ncsnpp() -> Numbers:
    """The score network's prediction, with FIR, attention and two levels."""
    network = NCSNpp(
        channels=8,
        channel_mult=(1, 2),
        blocks_per_level=1,
        attention_resolutions=(8,),
        fir=True,
        dropout=0.0,
        embedding=Positional(dim=8),
        time_channels=16,
    )
    u, t = normal(2, 2, 8, 8, 4), jnp.array([0.01, 0.7])
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), u, t, train=False))
    params = randomize(shapes["params"])
    out = compiled(lambda p: network.apply({"params": p}, u, t, train=False))(params)
    return {"out": out[:, ::2, ::2]}


def flows() -> Numbers:
    """Samples of a small prior by the probability flow, step control included."""
    sampler = ProbabilityFlow(rtol=1e-3, atol=1e-3)
    prior = dataclasses.replace(small.prior(), sampler=sampler)
    params, mutables = small.variables()
    shape = (2, *small.vae().prior_shape)

    def sample(params: Any) -> Any:
        return prior.sample(params, mutables, jax.random.key(4), shape)

    return {"z0": compiled(sample)(params).z0}


def optimizers() -> Numbers:
    """Three steps of each optimiser with decay, clipping and a schedule; averages."""
    rate = WarmupCosine(peak=0.1, end=0.01, num_steps=5, warmup_steps=2)
    start = {"bias": normal(5, 3), "kernel": normal(6, 2, 3)}
    found = {}
    for kind in (Adam, Adamax):
        transformation = kind(lr=rate, weight_decay=0.1, clip_norm=2.0).build()
        ema, params, state = Ema(decay=0.9), start, transformation.init(start)
        average = params
        for step in range(3):
            grads = {"bias": normal(7 + step, 3), "kernel": normal(17 + step, 2, 3)}
            updates, state = transformation.update(grads, state, params)
            params = optax.apply_updates(params, updates)
            average = ema.update(params, average, jnp.int32(step))
        found[kind.__name__] = {"params": params, "average": average}
    return found


def balancing() -> Numbers:
    """Coefficients of annealing, and weights of five groups on two scales."""
    schedule = KLSchedule(coeff_min=0.2, coeff_max=0.8, anneal_steps=9, const_steps=3)
    coeffs = jax.vmap(schedule)(jnp.arange(15))
    gammas = balance(10 * normal(8, 5, 4), coeffs[5], group_weights((2, 3)))
    return {"coefficients": coeffs, "gammas": gammas}


CASES: dict[str, Callable[[], Numbers]] = {
    case.__name__: case
    for case in (
        processes,
        objectives,
        nvae,
        ncsnpp,
        flows,
        optimizers,
        balancing,
    )
}


def compute(name: str) -> dict[str, np.ndarray]:
    """The numbers of a case by path, such as ``objectives/joint/losses/vae``."""
    leaves, _ = jax.tree.flatten_with_path({name: CASES[name]()})
    return {
        "/".join(jax.tree_util.keystr((part,), simple=True) for part in path): (
            np.asarray(leaf)
        )
        for path, leaf in leaves
    }


def main() -> None:
    """Write the file and say how large it is."""
    jax.config.update("jax_default_matmul_precision", "highest")
    numbers = {k: v for name in CASES for k, v in compute(name).items()}
    np.savez_compressed(FILE, **numbers)
    print(f"{FILE}: {len(numbers)} arrays, {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
