"""Measure a restored model: numbers with their errors, pictures, one report.

``measure`` computes, ``write`` puts ``metrics.json`` and ``report.html`` into a
folder. The held-out bound is averaged over examples and draws; samples are compared
with real images by a Frechet distance under an extractor's honest name, beside the
same distance between two halves of real data.
"""

import dataclasses
import json
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.data.pipeline import Data
from lsgm.evaluation import (
    bound,
    curves,
    distances,
    likelihood,
    plots,
    sampling,
    timing,
)
from lsgm.evaluation.likelihood import Likelihood
from lsgm.evaluation.recalibration import recalibrate
from lsgm.evaluation.report import Figure, Section, write_report
from lsgm.evaluation.settings import Evaluation
from lsgm.evaluation.tables import headline, table
from lsgm.model import LatentModel
from lsgm.priors.normal import StandardNormal
from lsgm.records import read_records
from lsgm.typing import Params

PATH_IMAGES, PATH_STEPS = 8, 9
SHOWN, COLUMNS = 96, 16


class Subject(NamedTuple):
    """What is measured.

    Attributes:
      card: where it comes from: checkpoint, stage, step, versions, device.
      records: ``metrics.jsonl`` of each stage so far, by stage.
    """

    model: LatentModel
    params: Params
    mutables: Params
    data: Data
    settings: Evaluation
    card: dict[str, Any]
    records: dict[str, pathlib.Path]


class Measured(NamedTuple):
    """Metrics by group, as ``metrics.json`` holds them, and pictures by section."""

    metrics: dict[str, dict[str, Any]]
    sections: list[Section]


def measure(subject: Subject, seed: int) -> Measured:
    """Everything that the settings ask for."""
    key = jax.random.key(seed)
    generator = recalibrated(subject, seed)
    drawn = draw_samples(generator, seed)
    metrics = {
        "bound": bound_metrics(subject, key),
        "sampling": sampling_metrics(generator, key, drawn),
    }
    asked = subject.settings.likelihood
    if asked is not None and subject.model.prior.has_bound:
        metrics["likelihood"] = likelihood_metrics(subject, asked, key)
    if subject.settings.extractor is not None:
        metrics["distance"] = distance_metrics(subject, drawn.images)
    return Measured(metrics, sections(subject, generator, drawn, seed))


def recalibrated(subject: Subject, seed: int) -> Subject:
    """The subject with the statistics to sample with."""
    settings = subject.settings
    mutables = recalibrate(
        subject.model,
        subject.params,
        subject.mutables,
        num_batches=settings.recalibration_batches,
        batch_size=settings.batch_size,
        seed=seed,
        temperature=settings.temperature,
    )
    return subject._replace(mutables=mutables)


def bound_metrics(subject: Subject, key: Any) -> dict[str, Any]:
    """The bound on held-out data and its parts: nats, standard errors, bits/dim.

    Beside it stands the bound of the same VAE with N(0, I) in the prior's place, on
    the same draws of latents: what the learned prior is worth.
    """
    settings, model = subject.settings, subject.model

    def estimate(model: LatentModel) -> dict[str, bound.Estimate]:
        return bound.estimate_bound(
            bound.bound_fn(model),
            subject.params,
            subject.mutables,
            subject.data.eval_batches(
                settings.split, settings.batch_size, settings.num_examples
            ),
            key,
            settings.num_draws,
        )

    found: dict[str, Any] = {
        name: {"nats": e.mean, "standard_error": e.standard_error}
        for name, e in estimate(model).items()
    }
    shape = model.vae.image_shape
    found["bits_per_dim"] = bound.bits_per_dim(found["nelbo"]["nats"], shape)
    found["num_bits"] = model.vae.likelihood.num_bits
    if model.prior.groups:
        normal = dataclasses.replace(model, prior=StandardNormal())
        e = estimate(normal)["nelbo"]
        found["nelbo_with_normal_prior"] = {
            "nats": e.mean,
            "standard_error": e.standard_error,
        }
    found["split"] = settings.split
    found["num_examples"] = settings.num_examples or len(
        subject.data.open(settings.split)
    )
    found["num_draws"] = settings.num_draws
    return found


def likelihood_metrics(
    subject: Subject, settings: Likelihood, key: Any
) -> dict[str, Any]:
    """The bound with the ODE's density of the latents, and importance weights."""
    model = subject.model
    batches = subject.data.eval_batches(
        subject.settings.split, settings.batch_size, settings.num_examples
    )
    terms = likelihood.terms_of(
        model, settings, subject.params, subject.mutables, batches, key
    )
    found = likelihood.summary(terms, settings, model.vae.image_shape)
    num_bits = model.vae.likelihood.num_bits
    return found | {"split": subject.settings.split, "num_bits": num_bits}


def draw_samples(subject: Subject, seed: int) -> sampling.Drawn:
    """The samples that distances and pictures use."""
    settings = subject.settings
    return sampling.draw(
        subject.model,
        subject.params,
        subject.mutables,
        settings.num_samples,
        seed=seed,
        batch_size=settings.batch_size,
        temperature=settings.temperature,
        batch_statistics=settings.batch_statistics,
    )


def sampling_metrics(
    subject: Subject, key: Any, drawn: sampling.Drawn
) -> dict[str, Any]:
    """Network calls and seconds per sample, prior and decoder apart."""
    settings, model = subject.settings, subject.model
    num = settings.batch_size
    latents = jax.jit(
        lambda key: model.prior.sample(
            subject.params, subject.mutables, key, (num, *model.vae.prior_shape)
        )
    )
    rest = model.finer_latents(key, num)
    decode = jax.jit(
        lambda z0: model.decode(subject.params, subject.mutables, z0, rest)
    )
    times = timing.time_sampling(latents, decode, key, settings.timing_repeats)
    return {
        "nfe": float(drawn.nfe.mean()),
        "nfe_by_batch": sorted(set(drawn.nfe.tolist())),
        "num_samples": len(drawn.images),
        "batch_size": num,
        "seconds_per_sample_prior": times.prior_per_sample,
        "seconds_per_sample_decoder": times.decoder_per_sample,
        "seconds_first_call": times.prior.first + times.decoder.first,
    }


def distance_metrics(subject: Subject, images: np.ndarray) -> dict[str, Any]:
    """Frechet distance of samples to real images, and of real halves."""
    settings = subject.settings
    extractor = settings.extractor
    real = extractor(real_images(subject, settings.reference_split))
    pool = [real, extractor(real_images(subject, settings.baseline_split))]
    fake = extractor(images)
    sizes = (min(len(fake), len(pool[1])), len(real))
    halves = distances.frechet_of_splits(np.concatenate(pool), sizes)
    moments = distances.moments
    return {
        "name": distances.frechet_name(len(fake), extractor.name),
        "frechet": distances.frechet(moments([fake]), moments([real])),
        "num_samples": len(fake),
        "num_reference": len(real),
        "reference": f"split {settings.reference_split}, not binarised",
        "frechet_real_halves": float(halves.mean()),
        "frechet_real_halves_range": [float(halves.min()), float(halves.max())],
        "real_halves": f"{sizes[0]} against {sizes[1]} real images, "
        f"mean of {len(halves)} random splits",
    }


def real_images(subject: Subject, split: str) -> np.ndarray:
    """Un-binarised images of a split in [0, 1], [n h w c]."""
    grey = dataclasses.replace(subject.data, binarize="none", num_bits=8)
    batches = grey.eval_batches(split, subject.settings.batch_size)
    found = [b["image"][b["mask"]] for b in batches]
    return np.concatenate(found).astype(np.float32) / 255


def sections(
    subject: Subject, generator: Subject, drawn: sampling.Drawn, seed: int
) -> list[Section]:
    """Pictures: samples, reconstructions, the path from noise, curves."""
    return [
        Section(
            title="Samples",
            figures=[
                Figure(
                    png=plots.png(plots.grid(drawn.images[:SHOWN], COLUMNS)),
                    caption="Means of the decoder's distribution, not selected.",
                )
            ],
        ),
        Section(title="Reconstructions", figures=[_reconstructions(subject, seed)]),
        *_path(generator, seed),
        Section(title="Training", figures=_curves(subject)),
    ]


def _reconstructions(subject: Subject, seed: int) -> Figure:
    model = subject.model
    batches = subject.data.eval_batches(subject.settings.split, 24, 24)
    levels = np.asarray(next(iter(batches))["image"])
    decoded = jax.jit(model.reconstruct)(
        subject.params,
        subject.mutables,
        jax.random.key(seed),
        model.vae.preprocess(jnp.asarray(levels)),
    )
    real = (levels / model.vae.likelihood.max_level).astype(np.float32)
    return Figure(
        png=plots.png(plots.pairs(real, np.asarray(decoded))),
        caption="Held-out images, each with its reconstruction to the right.",
    )


def _path(subject: Subject, seed: int) -> list[Section]:
    if not subject.model.prior.groups:
        return []
    settings = subject.settings
    drawn = sampling.draw(
        subject.model,
        subject.params,
        subject.mutables,
        PATH_IMAGES,
        seed=seed,
        batch_size=PATH_IMAGES,
        temperature=settings.temperature,
        batch_statistics=settings.batch_statistics,
        num_path=PATH_STEPS,
    )
    assert drawn.path is not None
    figure = Figure(
        png=plots.png(plots.strip(drawn.path)),
        caption="Latents on their way from noise (left) to a sample, decoded.",
    )
    return [Section(title="From noise to image", figures=[figure])]


def _curves(subject: Subject) -> list[Figure]:
    records = {stage: read_records(path) for stage, path in subject.records.items()}
    drawn = curves.pictures({s: r for s, r in records.items() if r})
    return [Figure(png=png, alt=title, density=2) for title, png in drawn.items()]


def write(subject: Subject, measured: Measured, folder: pathlib.Path) -> None:
    """Write ``metrics.json`` and ``report.html``."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"card": subject.card, **measured.metrics}
    text = json.dumps(document, indent=2, allow_nan=True) + "\n"
    (folder / "metrics.json").write_text(text)
    rows = table(measured.metrics)
    card = subject.card
    write_report(
        folder / "report.html",
        title=card["title"],
        subtitle=f"stage {card['stage']}, step {card['step']}",
        headline=headline(measured.metrics),
        sections=measured.sections,
        metrics=rows,
        card=card,
    )
