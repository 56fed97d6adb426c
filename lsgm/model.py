"""A VAE and its prior as one generative model: initialise, sample, reconstruct."""

import dataclasses
from typing import Literal, NamedTuple

import jax

from lsgm import numerics
from lsgm.config import ConfigError
from lsgm.priors.base import Prior
from lsgm.typing import Array, Image, Params, PRNGKey
from lsgm.vae import VAE


class Generated(NamedTuple):
    """Images from noise.

    Attributes:
      images: mean of the decoder's distribution, or a draw, in [0, 1], [b h w c].
      z0: the prior's latents, [b h w c].
      nfe: calls of the prior's network per sample, int32 scalar; the decoder's
        one call is not among them.
      path: decoded images of the latents along the way from noise,
        [num_path b h w c], or None.
    """

    images: Array
    z0: Array
    nfe: Array
    path: Array | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentModel:
    """p(x) = E_p(z)[p(x|z)], with q(z|x) beside it.

    Raises:
      ConfigError: a prior with a bound on data that it does not bound so.
    """

    vae: VAE
    prior: Prior

    def __post_init__(self) -> None:
        likelihood = self.vae.likelihood
        if self.prior.has_bound and not likelihood.has_bound:
            raise ConfigError(
                "vae.likelihood",
                type(likelihood).__name__,
                f"adds no noise to levels, so the bound of {type(self.prior).__name__} "
                "would be none on them; take DequantisationLikelihood",
            )

    def published(self) -> "LatentModel":
        """Itself as the published code computes its likelihood and estimators."""
        likelihood = self.vae.likelihood
        if hasattr(likelihood, "reference_compatible"):
            likelihood = dataclasses.replace(likelihood, reference_compatible=True)
        vae = dataclasses.replace(self.vae, likelihood=likelihood)
        return dataclasses.replace(self, vae=vae, prior=self.prior.published())

    def init(self, key: PRNGKey) -> tuple[Params, Params]:
        """Parameters and mutables of every group."""
        vae_key, prior_key = jax.random.split(key)
        vae_params, vae_mutables = self.vae.init(vae_key)
        params, mutables = self.prior.init(prior_key, self.vae.prior_shape)
        return {"vae": vae_params, **params}, {"vae": vae_mutables, **mutables}

    def sample(
        self,
        params: Params,
        mutables: Params,
        key: PRNGKey,
        num: int,
        *,
        temperature: float = 1.0,
        num_path: int = 0,
        batch_statistics: bool = False,
        cond: Array | None = None,
        decoded: Literal["mean", "sample"] = "mean",
    ) -> Generated:
        """Draw noise, solve the prior's reverse process, decode once.

        Args:
          temperature: factor on the standard deviation of the initial noise, and
            of the latents that the prior does not model.
          num_path: how many states along the way to decode; 0 decodes none.
          batch_statistics: let the decoder's batch normalisation use the
            generated batch instead of its running averages, as the published
            CelebA-HQ evaluation does.
          cond: labels to sample of, int32 [num].
          decoded: the mean of p(x|z), or a draw from it; along the way the mean.
        """
        prior_key, rest_key, draw_key = jax.random.split(key, 3)
        drawn = self.prior.sample(
            params,
            mutables,
            prior_key,
            (num, *self.vae.prior_shape),
            temperature=temperature,
            num_path=num_path,
            cond=cond,
        )
        rest = self.rest_latents(rest_key, num, temperature)

        def decode(z0: Array, key: PRNGKey | None = None) -> Image:
            return self.decode(
                params, mutables, z0, rest, batch_statistics=batch_statistics, key=key
            )

        path = None if drawn.path is None else jax.lax.map(decode, drawn.path)
        images = decode(drawn.z0, draw_key if decoded == "sample" else None)
        return Generated(images, drawn.z0, drawn.nfe, path)

    def rest_latents(
        self, key: PRNGKey, num: int, temperature: float = 1.0
    ) -> tuple[Array, ...]:
        """N(0, temperature^2) for the groups that the prior does not model."""
        shapes = self.vae.rest_shapes
        keys = jax.random.split(key, max(len(shapes), 1))
        return tuple(
            temperature * jax.random.normal(k, (num, *shape))
            for k, shape in zip(keys, shapes, strict=False)
        )

    def decode(
        self,
        params: Params,
        mutables: Params,
        z0: Array,
        rest: tuple[Array, ...] = (),
        *,
        batch_statistics: bool = False,
        key: PRNGKey | None = None,
    ) -> Image:
        """Latents to the mean of p(x|z), or with a ``key`` to a draw from it, shown as
        data are: images in [0, 1]."""
        distribution = self.vae.generate(
            params["vae"],
            mutables["vae"],
            self.vae.merge(z0, rest),
            batch_statistics=batch_statistics,
        )
        x = distribution.mean() if key is None else distribution.sample(key)
        return self.vae.likelihood.shown(x)

    def reconstruct(
        self, params: Params, mutables: Params, key: PRNGKey, x: Image
    ) -> Image:
        """Encode (one posterior sample) and decode; shown as data are."""
        keys = numerics.example_keys(key, numerics.example_indices(x.shape[0]))
        inferred = self.vae.infer(
            params["vae"], mutables["vae"], x, self.vae.draw(keys), train=False
        )
        distribution = self.vae.reconstruct(params["vae"], mutables["vae"], inferred)
        return self.vae.likelihood.shown(distribution.mean())
