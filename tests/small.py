"""The smallest model with all that an objective touches, for tests of objectives.

Two groups of latents on one scale, batch statistics, sown kernels and scales, and a
prior's network with dropout: what NVAE and NCSN++ have, in programs that compile in
a second.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from lsgm.distributions import BernoulliLikelihood
from lsgm.networks.layers import Conv, Dropout, GroupNorm
from lsgm.networks.norm import BatchNorm
from lsgm.networks.posterior import draw_posterior
from lsgm.numerics import expand_to
from lsgm.objective import Regularization
from lsgm.objectives.kl_balance import KLSchedule
from lsgm.objectives.time_sampling import Importance
from lsgm.objectives.weighting import LikelihoodWeighting
from lsgm.priors.score import ScorePrior
from lsgm.samplers.ddim import DDIM
from lsgm.sdes.vpsde import VPSDE
from lsgm.training.optim import Ema
from lsgm.training.packing import pack_state, unpack_state
from lsgm.training.parallel import fetch
from lsgm.training.stage import Stage
from lsgm.vae import VAE

# The compiler takes longer than all runs of what it compiles.
QUICK = {"xla_backend_optimization_level": 0}
SIZE, RATE = 4, 1e-2
TIMES = Importance(weighting=LikelihoodWeighting(), t_min=1e-2)


class SmallVAE(nn.Module):
    """Encoder and decoder of a few layers, batch-normalised."""

    num_outputs: int = 1
    axis_name: str | None = None

    def latent_shapes(self, image_shape):
        return (((SIZE, SIZE, 2), (SIZE, SIZE, 2)),)

    def setup(self):
        self.stem, self.posterior = Conv(4), (Conv(4), Conv(4))
        self.norm = BatchNorm(swish=True, axis_name=self.axis_name)
        self.decoder = Conv(self.num_outputs)
        self.decoder_norm = BatchNorm(axis_name=self.axis_name)

    def __call__(self, x, noise, *, train):
        z, log_q = self.encode(x, noise, train=train)
        return z, log_q, self.decode(z, train=train)

    def encode(self, x, noise, *, train):
        h = self.norm(self.stem(x), train)
        drawn = [
            draw_posterior(posterior(h), eta, 5.0)
            for posterior, eta in zip(self.posterior, noise, strict=True)
        ]
        return tuple(zip(*drawn, strict=True))

    def decode(self, z, *, train):
        return self.decoder(self.decoder_norm(jnp.concatenate(z, -1), train))


class SmallScore(nn.Module):
    """One normalised hidden layer, dropout, a time."""

    dropout: float = 0.0

    @nn.compact
    def __call__(self, u, t, *, train):
        h = GroupNorm(1)(Conv(4)(u) + expand_to(t, u))
        return Conv(u.shape[-1])(Dropout(self.dropout)(nn.swish(h), train))


def vae() -> VAE:
    return VAE(
        network=SmallVAE(),
        likelihood=BernoulliLikelihood(),
        data_shape=(SIZE, SIZE, 1),
    )


def prior(**fields: Any) -> ScorePrior:
    dropout = fields.pop("dropout", 0.0)
    settings = dict(
        sde=VPSDE(),
        network=SmallScore(dropout),
        weighting=LikelihoodWeighting(),
        time_sampler=TIMES,
        sampler=DDIM(num_steps=2),
    )
    return ScorePrior(**settings | fields)


def stage(**fields: Any) -> Stage:
    """A stage of joint training with every term of the losses in play."""
    settings = dict(
        prior=prior(),
        # Plain descent: Adam turns the rounding of gradients that are zero (biases
        # in front of a batch norm) into full steps.
        optimizers={"vae": Descent(), "prior": Descent()},
        kl=KLSchedule(coeff_min=0.7, anneal_steps=10),
        balance_kl=True,
        regularization={
            "vae": Regularization(spectral=1e-2, norm=1e-2),
            "prior": Regularization(spectral=1e-3, norm=1e-3),
        },
        ema=Ema(decay=0.9),
        num_steps=10,
        batch_size=4,
    )
    return Stage(**settings | fields)


class Descent:
    """An optimiser spec without state."""

    def build(self) -> optax.GradientTransformation:
        return optax.sgd(RATE)


@functools.cache
def _init() -> Any:
    return jax.jit(stage().objective(vae()).init, compiler_options=QUICK)


@functools.cache
def variables(seed: int = 0) -> tuple[Any, Any]:
    """Parameters off their start, and mutables, of any stage here."""
    params, mutables = _init()(jax.random.key(seed))
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda p: p + jnp.asarray(0.3 * rng.normal(size=p.shape), p.dtype), params
    ), mutables


def batch(num: int = 4) -> Any:
    """Random binary images."""
    shape = (num, SIZE, SIZE, 1)
    on = jax.random.bernoulli(jax.random.key(5), 0.3, shape)
    return {"levels": on.astype(jnp.uint8)}


def on_trees(update):
    """An update of packed states as one of trees, whose buffers stay."""

    def apply(state, batch):
        new, metrics = update(jax.tree.map(jnp.copy, pack_state(state)), batch)
        return unpack_state(fetch(new)), metrics

    return apply
