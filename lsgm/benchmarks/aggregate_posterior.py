r"""The distribution that a prior learns, in closed form: q(z0) over a set of images.

Where the encoder's q(z0|x) is a diagonal Normal, that of a random image of the set is

    q(z0) = 1/N sum_i N(z0; mean_i, std_i^2),                              (1)

a mixture with known parameters, so that log q of generated latents needs no estimate.
E_p[log q] of samples from p falls where they leave the mixture, but rises when they
crowd its peaks: it is compared with E_q[log q] = -H(q), never maximised. Together,

    KL(p || q) = -H(p) - E_p[log q],   KL(q || p) = -H(q) - E_q[log p].    (2)

That q(z0|x) is Normal is measured, not looked up: with eta the encoder's noise, the
mean is its latent at eta = 0, log std follows from the density there, and at random eta

    z = mean + std eta,   log q = -eta^2 / 2 - log(2 pi) / 2 - log std.    (3)

Of binarised data, every image stands in (1) with as many draws of its pixels as asked
for, taken with the seeds 2^64 - 1 (evaluation's own), 2^64 - 2, ...; of data that
training mirrors, also with its mirror images.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

from lsgm.data.images import Images
from lsgm.data.pipeline import EVALUATION_SEED, Data, require_kind
from lsgm.statistics.estimate import Estimate, estimate_mean
from lsgm.typing import Array, Batch, Latents, Params
from lsgm.vae import VAE

LOG_2PI = math.log(2 * math.pi)
# Numbers of one block of log-densities, [latents, components]: 64 MB.
_BLOCK = 2**23


class NotNormalError(ValueError):
    """An encoder whose q(z0|x) is not a diagonal Normal, so that Eq. (1) fails."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class AggregatePosterior:
    """Eq. (1).

    Attributes:
      mean, std: of the components, float64 [n d], d all of z0's dimensions.
    """

    mean: Float[np.ndarray, "n d"]
    std: Float[np.ndarray, "n d"]

    def log_prob(
        self, z0: Float[np.ndarray | Array, " b *s"]
    ) -> Float[np.ndarray, " b"]:
        """log q(z0) in nats, float64."""
        flat = np.asarray(z0, np.float64).reshape(len(z0), -1)
        precision = 1 / self.std**2
        pull = self.mean * precision
        constant = np.sum(self.mean * pull + 2 * np.log(self.std), 1)
        constant += self.std.shape[1] * LOG_2PI

        def block(z: np.ndarray) -> np.ndarray:
            square = z**2 @ precision.T - 2 * z @ pull.T + constant[None]
            return logsumexp(-0.5 * square, axis=1) - math.log(len(self.mean))

        size = max(1, _BLOCK // len(self.mean))
        starts = range(0, len(flat), size)
        return np.concatenate([block(flat[i : i + size]) for i in starts])

    def sample(self, num: int, seed: int) -> Float[np.ndarray, "num d"]:
        """Latents from Eq. (1), float64."""
        rng = np.random.default_rng(seed)
        which = rng.integers(len(self.mean), size=num)
        noise = rng.standard_normal((num, self.mean.shape[1]))
        return self.mean[which] + self.std[which] * noise

    def entropy(self, num: int, seed: int) -> Estimate:
        """H(q) in nats from ``num`` samples, with its standard error."""
        return estimate_mean(-self.log_prob(self.sample(num, seed)))


def aggregate_posterior(
    vae: VAE, params: Params, mutables: Params, batches: Iterable[Any]
) -> AggregatePosterior:
    """Eq. (1) over all images of ``batches``.

    Args:
      params, mutables: of the VAE's group.
      batches: with ``levels`` and a ``mask``, as ``training_images`` gives.

    Raises:
      NotNormalError: the prior models other groups than the first, which depend on
        those before, or Eq. (3) does not hold, as after flows.
    """
    first = vae.latent_shapes[0][0]
    if vae.prior_scales != (0,) or vae.prior_shape != first:
        raise NotNormalError(
            f"the prior models more than the first group, {first}, and each group is "
            "conditioned on those before: log q(z0) is not known in closed form"
        )
    encode = jax.jit(lambda *given: _encode(vae, params, mutables, *given))
    means, stds = [], []
    for batch in batches:
        mask = np.asarray(batch["mask"])
        keys = jax.random.split(jax.random.key(0), len(mask))
        eta = vae.draw(keys)
        mean, log_q = encode(batch, jax.tree.map(jnp.zeros_like, eta))
        mean = np.asarray(mean, np.float64)
        std = np.exp(-np.asarray(log_q, np.float64) - 0.5 * LOG_2PI)
        if not means:
            _check(mean, std, np.asarray(eta[0], np.float64), *encode(batch, eta))
        means.append(mean[mask].reshape(mask.sum(), -1))
        stds.append(std[mask].reshape(mask.sum(), -1))
    return AggregatePosterior(mean=np.concatenate(means), std=np.concatenate(stds))


def training_images(
    data: Data, batch_size: int, num_draws: int = 1
) -> Iterator[dict[str, Any]]:
    """Every training image as the VAE sees it: once, or where pixels are drawn
    ``num_draws`` times; where training mirrors images, mirrored as well."""
    batches = data.eval_batches("train", batch_size)
    for draw in range(num_draws if data.binarize == "dynamic" else 1):
        drawn = dataclasses.replace(batches, seed=EVALUATION_SEED - draw)
        for k in range(drawn.num_batches):
            batch = drawn.batch(k)
            yield batch
            if require_kind(data, Images, "data").flip:
                yield batch | {"levels": batch["levels"][:, :, ::-1]}


def _encode(
    vae: VAE, params: Params, mutables: Params, batch: Batch, eta: Latents
) -> tuple[Array, Array]:
    """The deepest group's latent and its log-density per variable."""
    inferred = vae.infer(params, mutables, vae.preprocess(batch), eta, train=False)
    return inferred.z[0], inferred.log_q[0]


def _check(
    mean: np.ndarray, std: np.ndarray, eta: np.ndarray, z: Array, log_q: Array
) -> None:
    """Raise NotNormalError unless Eq. (3) holds to the precision of float32."""
    expected = -0.5 * (eta**2 + LOG_2PI) - np.log(std)
    for ours, theirs in ((z, mean + std * eta), (log_q, expected)):
        if not np.allclose(ours, theirs, rtol=1e-3, atol=1e-3):
            raise NotNormalError(
                "q(z0|x) is not a diagonal Normal (flows after the posterior?): log "
                "q(z0) is not known in closed form"
            )
