"""A trained model in Python: arrays in, arrays out, network calls counted.

    import lsgm

    model = lsgm.load("package:demo")
    drawn = model.sample(16, seed=0)          # drawn.images, drawn.nfe

Everything is a function of its arguments: the same call gives the same numbers.
Compiled functions are kept, so the second call of a kind is fast.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.evaluation import sampling, walks
from lsgm.evaluation.measures.likelihood import (
    FlowLikelihood,
    importance_weighted,
    terms_of,
)
from lsgm.evaluation.recalibration import recalibrate
from lsgm.evaluation.walks import Code, Walker
from lsgm.runs.restore import Restored, restore
from lsgm.samplers.base import Sampler
from lsgm.samplers.flow_solver import FlowSolver
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.streams import Use, check_seed, stream
from lsgm.typing import Array, Batch

# How walks are solved.
FLOW = ProbabilityFlow(rtol=1e-3, atol=1e-3)


class LogProb(NamedTuple):
    """Lower bounds on log p(x).

    Attributes:
      nats: one of each example, [n], float32.
      nfe: network calls of the solve, one figure of each example, int32 [n].
    """

    nats: np.ndarray
    nfe: np.ndarray


def load(
    path: str | pathlib.Path, *, average: bool = True, trust: Sequence[str] = ()
) -> "TrainedModel":
    """The trained model in a workdir or checkpoint, or one that comes with the package.

    Args:
      path: a workdir, a stage's folder, a checkpoint, or ``"package:demo"``.
      average: take averaged parameters where there are some.
      trust: packages besides lsgm whose classes the checkpoint may name; their code
        is run.

    Raises:
      lsgm.training.checkpoints.CheckpointError: nothing to read there, or unreadable.
      lsgm.config.ConfigError: it names a class of a package that is not trusted.
    """
    return TrainedModel(restore(pathlib.Path(path), average=average, trust=trust))


class TrainedModel:
    """A VAE and its prior with their parameters.

    Images go in and come out as float32 in [0, 1], [n h w c]; integer levels, as data
    sets hold them, are taken too. Points of the plane are [n 1 1 2], as they are.

    Attributes:
      restored: model, parameters, config, and where they come from.
    """

    def __init__(self, restored: Restored):
        self.restored = restored
        self._recalibrated = functools.cache(
            functools.partial(
                recalibrate, params=restored.params, mutables=restored.mutables
            )
        )
        self._sample_fn = functools.cache(sampling.sample_fn)

    def __repr__(self) -> str:
        restored = self.restored
        return f"<TrainedModel {restored.title}: {restored.stage} step {restored.step}>"

    def sample(
        self,
        num: int,
        *,
        seed: int = 0,
        sampler: Sampler | None = None,
        batch_size: int | None = None,
        temperature: float | None = None,
        recalibration_batches: int | None = None,
    ) -> sampling.Drawn:
        """Draw noise, solve the prior's reverse process, decode once.

        Sample i is a function of the seed, i and the batch size, whatever ``num`` is.

        Args:
          sampler: another one than the checkpoint's, such as
            ``lsgm.samplers.heun.Heun(num_steps=5)``.
          batch_size: samples that are drawn together.
          temperature: factor on the standard deviation of the initial noise.
          recalibration_batches: generated batches from which the decoder's batch
            normalisation takes its statistics first. These three are by default
            those of the checkpoint's ``evaluation``.

        Returns:
          ``images`` and ``nfe``, calls of the prior's network, int32 [num].

        Raises:
          ValueError: a setting or a seed that cannot be used, or a sampler that does
            not fit the prior's process.
          FloatingPointError: samples are not finite.
        """
        check_seed(seed)
        if num < 1:
            raise ValueError(f"num = {num}: must be at least 1")
        model = sampling.replace_sampler(self.restored.model, sampler)
        given = {
            "batch_size": batch_size,
            "temperature": temperature,
            "recalibration_batches": recalibration_batches,
            "batch_statistics": False if recalibration_batches else None,
        }
        given = {name: value for name, value in given.items() if value is not None}
        used = dataclasses.replace(self.restored.experiment.evaluation, **given)
        drawn_from = self._sample_fn(
            model,
            used.batch_size,
            temperature=used.temperature,
            batch_statistics=used.batch_statistics,
        )
        mutables = self._recalibrated(
            model,
            num_batches=used.recalibration_batches,
            batch_size=used.batch_size,
            seed=seed,
            temperature=used.temperature,
        )
        key = stream(seed, Use.SAMPLES)
        return sampling.draw(drawn_from, self.restored.params, mutables, num, key)

    def encode(self, x: Any) -> Code:
        """Latents of images, those at zero posterior noise: ``z0`` [n h w c], which the
        prior models, and ``rest``, all other groups.

        Raises:
          ValueError: x is not what the model was trained on.
        """
        return jax.tree.map(np.asarray, self._walk.encode(self._data(x)))

    def decode(self, z0: Any, *, seed: int = 0) -> np.ndarray:
        """Images of latents, [n h w c].

        Args:
          z0: what ``encode`` returns, or latents of the prior [n h w c] alone; then
            all other groups are drawn with the seed.
        """
        code = z0
        if not isinstance(code, Code):
            z0 = jnp.asarray(z0, jnp.float32)
            rest_key = stream(seed, Use.SAMPLES)
            code = Code(z0, self.restored.model.rest_latents(rest_key, len(z0)))
        return np.asarray(self._walk.decode(jax.tree.map(jnp.asarray, code)))

    def interpolate(self, a: Any, b: Any, num: int = 9, *, seed: int = 0) -> np.ndarray:
        """Images on the way from ``a`` to ``b`` through the prior's noise,
        [num n h w c]; the ends are both solved to noise and back.

        Args:
          seed: of the velocities of augmented processes.

        Raises:
          ValueError: a or b is not what the model was trained on, or num is below 2.
          FloatingPointError: states are not finite.
        """
        if num < 2:
            raise ValueError(f"num = {num}: must be at least 2")
        first, last = (self._walk.encode(self._data(x)) for x in (a, b))
        key, t_end = stream(seed, Use.INTERPOLATION), FLOW.t_end
        return np.asarray(walks.interpolate(self._walk, first, last, num, t_end, key))

    def log_prob(
        self,
        x: Any,
        *,
        seed: int = 0,
        flow: FlowSolver | None = None,
        num_samples: int = 1,
    ) -> LogProb:
        """Lower bounds on log p(x) in nats: the ELBO with the ODE's density of the
        latents, or with several posterior samples the importance-weighted bound.

        Args:
          flow: how the ODE is solved; adaptively with tolerance 1e-5 by default.
          num_samples: posterior samples of each example.

        Raises:
          ValueError: x is not what the model was trained on, or the prior has no bound.
          FloatingPointError: the ODE was not solved.
        """
        model = self.restored.model
        if not model.prior.has_bound:
            raise ValueError(f"{type(model.prior).__name__} has no bound on log p(x)")
        settings = FlowLikelihood(
            num_samples=num_samples,
            flow=flow or ProbabilityFlow(),
            loosened=None,
            probe="rademacher" if num_samples == 1 else "exact",
        )
        batch = self._batch(x)
        num = len(next(iter(batch.values())))
        terms = terms_of(
            model,
            settings,
            self.restored.params,
            self.restored.mutables,
            [{**batch, "mask": np.ones(num, bool)}],
            stream(seed, Use.LIKELIHOOD),
        )
        nfe = np.full(num, terms.nfe["cross_entropy"].sum(), np.int32)
        return LogProb(-importance_weighted(terms.nelbo), nfe)

    @functools.cached_property
    def _walk(self) -> Walker:
        restored = self.restored
        own = restored.params, restored.mutables
        return walks.walker(restored.model, *own, FLOW)

    def _data(self, x: Any) -> Array:
        """Examples as the networks take them."""
        return self.restored.model.vae.preprocess(self._batch(x))

    def _batch(self, x: Any) -> Batch:
        vae, x = self.restored.model.vae, np.asarray(x)
        if x.ndim != 4 or x.shape[1:] != vae.data_shape or not len(x):
            shape = ", ".join(map(str, vae.data_shape))
            raise ValueError(f"x has shape {x.shape}: the model's is (n, {shape})")
        if vae.likelihood.continuous:
            return {"x": jnp.asarray(x, jnp.float32)}
        top = vae.likelihood.max_level
        if not np.issubdtype(x.dtype, np.integer):
            if not (np.min(x) >= 0 and np.max(x) <= 1):
                raise ValueError("x has values outside of [0, 1]")
            x = np.rint(top * x)
        elif np.min(x) < 0 or np.max(x) > top:
            raise ValueError(f"x has levels outside of 0 .. {top}")
        return {"levels": jnp.asarray(x, jnp.uint8)}
