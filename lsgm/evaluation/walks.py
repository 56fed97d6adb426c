r"""Walks through a trained model: round trips, interpolations, traversals.

``transport`` solves the probability-flow ODE between any two times; with it

    round trip:     z0 -> u_t ~ q(u_t|z0), by fresh noise -> back to t_end,   (1)
    interpolation:  z0, z0' -> noise u1, u1' -> slerp -> t_end,               (2)
    traversal:      noises u1, u1', u1'', ... -> slerp -> t_end.              (3)

(1) is the data point as t tends to t_end, and a fresh sample at t = 1. Between noises
the way is spherical: N(0, I) in many dimensions lies near a sphere, and a straight line
between two draws leaves it. Finer scales, Normal under the model, are interpolated
likewise. Latents of a data point are those at zero noise, the posterior's mean where
it has no flows. States of augmented processes have components beyond the latents:
those of a data point are drawn at t_end, the same for every data point of a walk.

    slerp(a, b, s) = (sin((1 - s) w) a + sin(s w) b) / sin w,  w = angle(a, b). (4)

Sources: Song et al., arXiv 2011.13456, section 4.3 (encoding by the ODE); White,
arXiv 1609.04468 (4).
"""

import io
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image as PILImage

from lsgm.data.views import View
from lsgm.files import write_file
from lsgm.model import LatentModel
from lsgm.reports.plots import GROUND
from lsgm.samplers.base import require_finite
from lsgm.samplers.probability_flow import ProbabilityFlow, velocity
from lsgm.sdes.base import SDE
from lsgm.typing import Array, Params


class Code(NamedTuple):
    """Latents of b images: the prior's, or a state that is made of them, and all
    other groups."""

    z0: Array
    rest: tuple[Array, ...]


class Walker(NamedTuple):
    """A model's maps, compiled.

    Attributes:
      encode: x [b h w c] -> Code.
      noise: (num, key) -> Code that a walk starts from: noise, or where the prior
        has no diffusion samples of its latents.
      transport: (u, from, to) -> u: the ODE between two times.
      decode: Code of z0 -> images in [0, 1].
      diffusion: the prior's process; None where it has none.
    """

    encode: Callable[..., Code]
    noise: Callable[..., Code]
    transport: Callable[..., Array]
    decode: Callable[..., Array]
    diffusion: SDE | None

    def lower(self, u: Array) -> Array:
        """The latents of states."""
        return u if self.diffusion is None else self.diffusion.lower(u)

    def lift(self, z0: Array, t: float, eps: Array) -> Array:
        """States at time t with these latents."""
        if self.diffusion is None:
            return z0
        return self.diffusion.lift(z0, jnp.full(z0.shape[:1], t), eps).u


def walker(
    model: LatentModel, params: Params, mutables: Params, flow: ProbabilityFlow
) -> Walker:
    """The maps of a model, its parameters bound."""
    encode, transport, decode = _maps(model, flow)
    own = params, mutables

    def carry(u: Array, start: float, end: float) -> Array:
        there = transport(*own, u, jnp.float32(start), jnp.float32(end))
        require_finite(there, "states")
        return there

    return Walker(
        lambda x: encode(*own, x),
        lambda num, key: _noise(model, *own, num, key),
        carry,
        lambda code: decode(*own, code.z0, code.rest),
        model.prior.diffusion,
    )


def _maps(model: LatentModel, flow: ProbabilityFlow) -> tuple[Callable[..., Any], ...]:
    vae = model.vae
    prior: Any = model.prior

    def encode(params: Params, mutables: Params, x: Array) -> Code:
        shapes = [shape for scale in vae.latent_shapes for shape in scale]
        zero = tuple(jnp.zeros((len(x), *shape)) for shape in shapes)
        z = vae.infer(params["vae"], mutables["vae"], x, zero, train=False).z
        return Code(vae.join(z), vae.rest(z))

    def transport(
        params: Params, mutables: Params, u: Array, start: Array, end: Array
    ) -> Array:
        if prior.diffusion is None:
            return u  # No noise to walk to: the walk is among the latents.
        field = velocity(prior.diffusion, prior.residual_fn(params, mutables))
        return flow.solve(lambda u, t, _: field(u, t), u, start, end).y

    return tuple(jax.jit(f) for f in (encode, transport, model.decode))


def slerp(a: Array, b: Array, s: Array) -> Array:
    """Eq. (4) per example for each of the shares ``s`` [k]: [k b *d].

    Where a and b are parallel, the straight line.
    """
    flat_a, flat_b = (x.reshape(len(x), -1) for x in (a, b))
    norms = jnp.linalg.norm(flat_a, axis=1) * jnp.linalg.norm(flat_b, axis=1)
    cosine = jnp.sum(flat_a * flat_b, 1) / jnp.maximum(norms, 1e-12)
    angle = jnp.arccos(jnp.clip(cosine, -1.0, 1.0))[None]
    s = s[:, None]
    sine = jnp.sin(angle)
    flat = sine < 1e-4
    safe = jnp.where(flat, 1.0, sine)
    first = jnp.where(flat, 1 - s, jnp.sin((1 - s) * angle) / safe)
    second = jnp.where(flat, s, jnp.sin(s * angle) / safe)
    shape = first.shape + (1,) * (a.ndim - 1)
    return first.reshape(shape) * a[None] + second.reshape(shape) * b[None]


def round_trips(
    walk: Walker, x: Array, times: tuple[float, ...], t_end: float, key: Any
) -> Array:
    """Eq. (1), decoded, for each time: [k b h w c]. The same noise at every time."""
    code, sde = walk.encode(x), walk.diffusion
    assert sde is not None
    eps = jax.random.normal(key, sde.state_shape(code.z0.shape))

    def trip(t: float) -> Array:
        if t <= t_end:
            return code.z0
        u = sde.perturb(code.z0, jnp.full(code.z0.shape[:1], t), eps)
        return sde.lower(walk.transport(u, t, t_end))

    trips = [trip(t) for t in times]
    return jnp.stack([walk.decode(Code(z0, code.rest)) for z0 in trips])


def interpolate(
    walk: Walker, a: Code, b: Code, num: int, t_end: float, key: Any
) -> Array:
    """Eq. (2), decoded: [num b h w c]; its ends are the data points, solved to noise
    and back."""
    one = jax.random.normal(key, a.z0[:1].shape)
    eps = jnp.broadcast_to(one, a.z0.shape)
    u1, v1 = (
        walk.transport(walk.lift(code.z0, t_end, eps), t_end, 1.0) for code in (a, b)
    )
    return _between(walk, Code(u1, a.rest), Code(v1, b.rest), num, t_end)


def _between(walk: Walker, a: Code, b: Code, num: int, t_end: float) -> Array:
    shares = jnp.linspace(0.0, 1.0, num)
    between = jax.tree.map(lambda x, y: slerp(x, y, shares), a, b)
    codes = [jax.tree.map(lambda leaf, i=i: leaf[i], between) for i in range(num)]
    return jnp.stack(
        [
            walk.decode(
                code._replace(z0=walk.lower(walk.transport(code.z0, 1.0, t_end)))
            )
            for code in codes
        ]
    )


def traverse(
    walk: Walker, noises: Sequence[Code], num_steps: int, t_end: float
) -> Array:
    """Eq. (3), decoded: frames [k b h w c] of a walk that returns to its start.

    Args:
      noises: what is visited, in order.
      num_steps: frames from one noise to the next, ends included.
    """
    ends = [*noises[1:], noises[0]]
    legs = [
        _between(walk, a, b, num_steps, t_end)[:-1]
        for a, b in zip(noises, ends, strict=True)
    ]
    return jnp.concatenate(legs)


def _noise(
    model: LatentModel, params: Params, mutables: Params, num: int, key: Any
) -> Code:
    prior_key, rest_key = jax.random.split(key)
    shape = (num, *model.vae.prior_shape)
    if model.prior.diffusion is None:
        z0 = model.prior.sample(params, mutables, prior_key, shape).z0
    else:
        z0 = model.prior.diffusion.prior_sample(prior_key, shape)
    return Code(z0, model.rest_latents(rest_key, num))


def save_gif(
    path: pathlib.Path, frames: Any, view: View, seconds_per_frame: float = 0.1
) -> None:
    """Frames [k n h w c] as a GIF that repeats, n examples in a picture; pictures of
    unequal sizes, as texts have, are filled up."""
    grids = [view.picture(np.asarray(frame)) for frame in frames]
    size = np.max([g.shape for g in grids], axis=0)
    grids = [
        np.pad(g, [(0, n) for n in size - g.shape], constant_values=GROUND)
        for g in grids
    ]
    first, *others = (PILImage.fromarray(g.squeeze()) for g in grids)
    file = io.BytesIO()
    milliseconds = round(1000 * seconds_per_frame)
    first.save(
        file,
        format="GIF",
        save_all=True,
        append_images=others,
        duration=milliseconds,
        loop=0,
    )
    write_file(path, file.getvalue())
