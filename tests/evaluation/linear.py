"""A VAE of Gaussians whose log p(x) is known.

Two scales of one group; every pixel is on its own:

    x = gain z1 + finer z2 + noise s,  z1 ~ N(0, v), z2 ~ N(0, 1),
    q(z1|x) = N(slope x, width^2),     q(z2|x) = N(0, 1).
"""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

from lsgm.distributions import Likelihood
from lsgm.vae import VAE

SHAPE = (2, 2, 1)
NOISE = 0.5
LOG_2PI = np.log(2 * np.pi)


def log_normal(x, mean, deviation):
    return -0.5 * (((x - mean) / deviation) ** 2 + LOG_2PI) - np.log(deviation)


class Network(nn.Module):
    gain: float
    finer: float
    slope: float
    width: float
    num_outputs: int = 1
    axis_name: Any = None

    def latent_shapes(self, image_shape):
        return ((image_shape,), (image_shape,))

    def __call__(self, x, noise, *, train):
        z = (self.slope * x + self.width * noise[0], noise[1])
        log_q = (
            log_normal(z[0], self.slope * x, self.width),
            log_normal(z[1], 0.0, 1.0),
        )
        return z, log_q, self.decode(z, train=train)

    def decode(self, z, *, train):
        return self.gain * z[0] + self.finer * z[1]


class Pixels(NamedTuple):
    loc: Any

    def log_prob(self, x):
        return log_normal(x, self.loc, NOISE).sum(-1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoisyPixels(Likelihood):
    def num_outputs(self, channels):
        return channels

    def distribution(self, out):
        return Pixels(out)


def vae(**fields: float) -> VAE:
    return VAE(network=Network(**fields), likelihood=NoisyPixels(), data_shape=SHAPE)


def posterior(gain: float, variance: float) -> dict[str, float]:
    """Fields with which q is the posterior; the finer scale is not looked at."""
    precision = 1 / variance + gain**2 / NOISE**2
    return {
        "gain": gain,
        "finer": 0.0,
        "slope": gain / NOISE**2 / precision,
        "width": precision**-0.5,
    }


def neg_log_prob(levels, gain: float, finer: float, variance: float):
    """-log p(x) of images [n h w c], in nats [n]."""
    x = 2.0 * levels / 255 - 1.0
    deviation = np.sqrt(gain**2 * variance + finer**2 + NOISE**2)
    return -log_normal(x, 0.0, deviation).sum((1, 2, 3))


def batches(num: int, batch_size: int):
    """Images of random levels in batches, the last one filled up."""
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (num, *SHAPE), dtype=np.uint8)
    for start in range(0, num, batch_size):
        image = np.zeros((batch_size, *SHAPE), np.uint8)
        part = levels[start : start + batch_size]
        image[: len(part)] = part
        yield {"levels": image, "mask": np.arange(batch_size) < len(part)}


def images(num: int):
    """What ``batches`` holds."""
    return np.concatenate([b["levels"][b["mask"]] for b in batches(num, num)])
