"""What is measured, and what several measurements share."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.data.pipeline import Data
from lsgm.evaluation import sampling
from lsgm.evaluation.held_out import HeldOut
from lsgm.evaluation.recalibration import recalibrate
from lsgm.evaluation.settings import Evaluation
from lsgm.model import LatentModel
from lsgm.streams import Use, stream
from lsgm.typing import Array, Params


class Subject(NamedTuple):
    """A restored model with its data.

    Attributes:
      card: where it comes from (``lsgm.evaluation.provenance``).
      records: ``metrics.jsonl`` of each stage so far, by stage.
    """

    model: LatentModel
    params: Params
    mutables: Params
    data: Data
    settings: Evaluation
    card: dict[str, Any]
    records: dict[str, pathlib.Path]


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluationRun:
    """A subject and a seed: all that a measurement is a function of.

    What several measurements need is computed once, when the first asks for it.
    """

    subject: Subject
    seed: int

    @functools.cached_property
    def generator(self) -> Subject:
        """The subject with the statistics to sample with."""
        subject, settings = self.subject, self.subject.settings
        mutables = recalibrate(
            subject.model,
            subject.params,
            subject.mutables,
            num_batches=settings.recalibration_batches,
            batch_size=settings.batch_size,
            seed=self.seed,
            temperature=settings.temperature,
        )
        return subject._replace(mutables=mutables)

    @functools.cached_property
    def generated(self) -> sampling.Drawn:
        """The samples that several measures use, as they stream by: features and
        calls of all, and the first images, as many as some measure needs."""
        settings = self.subject.settings
        nfe, features, images = [], [], []
        left = max((m.needs.num_images for m in settings.measures), default=0)
        for drawn in self.draw(settings.num_samples, settings.batch_size):
            nfe.append(drawn.nfe)
            if settings.extractor is not None:
                features.append(settings.extractor(drawn.images))
            images.append(drawn.images[:left])
            left -= len(images[-1])
        return sampling.Drawn(
            images=np.concatenate(images),
            nfe=np.concatenate(nfe),
            features=np.concatenate(features) if features else None,
        )

    def held_out(self, batch_size: int, num: int | None) -> HeldOut:
        """The first ``num`` held-out examples, or all, in evaluation batches."""
        data, split = self.subject.data, self.subject.settings.split
        return HeldOut(data, data.eval_batches(split, batch_size, num))

    def held_out_data(self, num: int) -> Array:
        """The first ``num`` held-out examples as the model takes them, [num h w c]."""
        batch = next(iter(self.held_out(num, num)))
        return self.subject.model.vae.preprocess(jax.tree.map(jnp.asarray, batch))

    def held_out_batch(self, k: int, batch_size: int, *, at_least: int) -> Array:
        """Batch ``k`` of all held-out examples as the model takes them; the last one
        is filled up with its last example.

        Raises:
          lsgm.data.errors.DataError: there are fewer than ``at_least`` examples.
        """
        data, split = self.subject.data, self.subject.settings.split
        data.eval_batches(split, batch_size, at_least)
        batch = data.eval_batches(split, batch_size).batch(k)
        return self.subject.model.vae.preprocess(jax.tree.map(jnp.asarray, batch))

    def describe_data(self) -> dict[str, Any]:
        """What numbers on held-out data depend on, beside the examples."""
        subject = self.subject
        return {
            "num_bits": subject.model.vae.likelihood.num_bits,
            "unit": subject.data.unit,
            "split": subject.settings.split,
            "binarize": subject.data.binarize,
        }

    def draw(
        self,
        num: int,
        batch_size: int,
        num_path: int = 0,
        decoded: Literal["mean", "sample"] = "mean",
    ) -> Iterator[sampling.Drawn]:
        """Samples as the settings say, batch by batch: means of the decoder's
        distribution, or draws from it for the same latents."""
        generator, settings = self.generator, self.subject.settings
        sample = sampling.sample_fn(
            generator.model,
            batch_size,
            temperature=settings.temperature,
            batch_statistics=settings.batch_statistics,
            num_path=num_path,
            decoded=decoded,
        )
        own = generator.params, generator.mutables
        return sampling.batches(sample, *own, num, stream(self.seed, Use.SAMPLES))
