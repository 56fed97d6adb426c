r"""Data on the line that diffuse and come back, with the exact score.

Paths follow a process and its reverse by small steps of Euler and Maruyama,

    u <- u + h f + g sqrt(h) n,        u <- u - h (f - g^2 score) + g sqrt(h) n,  (1)

under each coordinate's own density, a closed form (``lsgm.benchmarks.mixture``).

Source: the first figure of CLD, arXiv 2112.07068.
"""

import functools
import pathlib
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.benchmarks.mixture import NormalMixture
from lsgm.files import write_file
from lsgm.numerics import expand_to
from lsgm.reports.figures import draw_png
from lsgm.samplers.base import reverse_drift
from lsgm.sdes.base import SDE
from lsgm.sdes.cld import CLD
from lsgm.sdes.vpsde import VPSDE
from lsgm.typing import Array, Float, PRNGKey

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PROCESSES: dict[str, SDE] = {"CLD": CLD(), "VPSDE": VPSDE()}
T_END, STEPS, PATHS = 1e-3, 2000, 9
# Times and values at which a density is drawn.
RESOLUTION = (240, 320)

Paths = Float[np.ndarray, "steps n s"]


def diffuse(key: PRNGKey, sde: SDE, u: Float[Array, "n s"], *, num_steps: int) -> Paths:
    """The first rule of Eq. (1), from t = 0 to 1; ``num_steps`` + 1 states."""
    return _walk(key, sde, u, np.linspace(0.0, 1.0, num_steps + 1), sde.drift)


def come_back(
    key: PRNGKey,
    sde: SDE,
    u: Float[Array, "n s"],
    mixture: NormalMixture,
    *,
    num_steps: int,
) -> Paths:
    """The second rule of Eq. (1), from t = 1 to ``T_END``; ``num_steps`` + 1 states."""
    residual = mixture.residual(sde)

    def drift(u: Array, t: Array) -> Array:
        return reverse_drift(sde, u, t, residual(u, t))

    return _walk(key, sde, u, np.linspace(1.0, T_END, num_steps + 1), drift)


def _walk(key: PRNGKey, sde: SDE, u: Array, times: np.ndarray, drift: Any) -> Paths:
    def step(u: Array, inputs: tuple[Array, Array, PRNGKey]) -> tuple[Array, Array]:
        now, h, key = inputs
        t = jnp.full(u.shape[:1], now)
        noise = sde.embed(jax.random.normal(key, sde.noised(u).shape))
        spread = jnp.sqrt(jnp.abs(h) * sde.g2(t))
        u = u + h * drift(u, t) + expand_to(spread, noise) * noise
        return u, u

    @jax.jit
    def run(u: Array, key: PRNGKey) -> Array:
        t, h = (jnp.asarray(x, u.dtype) for x in (times[:-1], np.diff(times)))
        keys = jax.random.split(key, len(h))
        return jnp.concatenate([u[None], jax.lax.scan(step, u, (t, h, keys))[1]])

    return np.asarray(run(u, key))


def draw(mixture: NormalMixture, seed: int) -> bytes:
    """A PNG: a row for each coordinate of each process, out on the left and back on the
    right."""
    rows = []
    for index, (name, sde) in enumerate(PROCESSES.items()):
        out, back = walk(mixture, sde, jax.random.fold_in(jax.random.key(seed), index))
        for coordinate in range(out.shape[-1]):
            title = f"{name}, {('data', 'velocity')[coordinate]}"
            rows.append((title, sde, coordinate, (out, back)))

    def fill(figure: "Figure") -> None:
        places = figure.subplots(len(rows), 2, squeeze=False)
        for pair, (title, sde, coordinate, both) in zip(places, rows, strict=True):
            most = max(np.abs(paths[..., coordinate]).max() for paths in both)
            reach = 1.05 * float(most)
            ground = _density(mixture, sde, coordinate, reach)
            for axes, paths, forward in zip(pair, both, (True, False), strict=True):
                _panel(axes, paths[..., coordinate], ground, reach, forward)
                axes.set_title(f"{title}, {'out' if forward else 'and back'}")
        for axes in places[-1]:
            axes.set_xlabel("t")

    return draw_png((8.6, 2.1 * len(rows) + 0.3), fill)


def walk(mixture: NormalMixture, sde: SDE, key: PRNGKey) -> tuple[Paths, Paths]:
    """``PATHS`` paths from data to t = 1, and as many from the prior back."""
    start, key = jax.random.split(key)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(start)))
    z0 = jnp.asarray(mixture.draw(rng, PATHS), jnp.float32)[:, None]
    first, second, third = jax.random.split(key, 3)
    zero = jnp.zeros(PATHS)
    u0 = sde.lift(z0, zero, jax.random.normal(start, z0.shape)).u
    out = diffuse(first, sde, u0, num_steps=STEPS)
    u1 = sde.prior_sample(third, (PATHS, 1))
    back = come_back(second, sde, u1, mixture, num_steps=STEPS)
    return out, back


def _density(
    mixture: NormalMixture, sde: SDE, coordinate: int, reach: float
) -> Float[np.ndarray, "values times"]:
    """Of a coordinate, over time, each time's over its largest."""
    times, values = RESOLUTION
    x = jnp.linspace(-reach, reach, values)
    one = functools.partial(mixture.density, sde, x=x, coordinate=coordinate)
    found = jax.jit(jax.vmap(lambda t: one(t)))(jnp.linspace(1e-4, 1.0, times))
    return np.asarray(found / jnp.max(found, axis=1, keepdims=True)).T


def _panel(
    axes: "Axes", paths: np.ndarray, ground: np.ndarray, reach: float, forward: bool
) -> None:
    times = np.linspace(0, 1, len(paths)) if forward else np.linspace(1, 0, len(paths))
    axes.imshow(
        ground,
        extent=(0, 1, -reach, reach),
        origin="lower",
        aspect="auto",
        cmap="Greys",
        vmax=1.6,
    )
    axes.plot(times, paths, linewidth=0.7)
    axes.grid(False)
    if not forward:
        axes.invert_xaxis()


def write(picture: bytes, folder: pathlib.Path) -> None:
    """``paths.png``."""
    write_file(folder / "paths.png", picture)
