"""Measure a restored model: numbers with their errors, pictures, one report.

An evaluation is a list of named parts, each a pure function of the subject and the
seed. ``measure`` computes those that are not there yet (``lsgm.evaluation.parts``),
``write`` puts ``metrics.json``, ``per_example.npz`` and ``report.html`` into a folder.
The held-out bound is averaged over examples and draws; how samples compare with real
images is the matter of ``lsgm.evaluation.measures.realism``.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from lsgm.evaluation import parts, provenance, timing
from lsgm.evaluation.measures import (
    bound,
    latents,
    likelihood,
    realism,
    walks,
)
from lsgm.evaluation.parts import Result
from lsgm.evaluation.settings import NUM_SHOWN
from lsgm.evaluation.subject import Run, Subject
from lsgm.priors.normal import StandardNormal
from lsgm.reports import curves, ledger, plots
from lsgm.reports.page import Figure, Section, write_report
from lsgm.reports.tables import headline, table
from lsgm.training.records import read_records

PATH_IMAGES, PATH_STEPS = 8, 9
COLUMNS = 16
WITH_NORMAL = "nelbo_with_normal_prior"


class Measured(NamedTuple):
    """Metrics by part, as ``metrics.json`` holds them; values of each example by part
    and name; pictures by section."""

    metrics: dict[str, dict[str, Any]]
    per_example: dict[str, np.ndarray]
    sections: list[Section]


def parts_of(subject: Subject) -> dict[str, Callable[[Run], Result]]:
    """The parts that the settings ask for, in the order in which they run."""
    settings, prior = subject.settings, subject.model.prior
    asked = {
        "bound": (bound_part, prior.has_bound),
        "reconstruction": (reconstruction_part, not prior.has_bound),
        "likelihood": (
            likelihood_part,
            settings.likelihood is not None and prior.has_bound,
        ),
        "sampling": (sampling_part, True),
        "pictures": (pictures_part, True),
        "distance": (realism.distance_part, settings.extractor is not None),
        "memorization": (
            realism.memorization_part,
            settings.extractor is not None and settings.memorization is not None,
        ),
        "exploration": (exploration_part, settings.exploration is not None),
        "latents": (latents_part, settings.latent_examples > 0),
    }
    return {name: part for name, (part, wanted) in asked.items() if wanted}


def measure(
    subject: Subject,
    seed: int,
    folder: pathlib.Path,
    tell: Callable[[str], None] = print,
) -> Measured:
    """Everything that the settings ask for.

    Args:
      folder: where finished parts are kept; those of the same card are not computed
        again.
      tell: receives lines on progress.
    """
    results = parts.run(
        parts_of(subject),
        Run(subject, seed),
        provenance.digest(subject.card),
        folder / parts.FOLDER,
        tell,
    )
    sections = [s for result in results.values() for s in result.sections]
    return Measured(
        metrics={name: r.metrics for name, r in results.items() if r.metrics},
        per_example={
            f"{part}/{name}": values
            for part, result in results.items()
            for name, values in result.per_example.items()
        },
        sections=[*sections, Section(title="Training", figures=_curves(subject))],
    )


def bound_part(run: Run) -> Result:
    """The bound on held-out data and its parts: nats, standard errors, bits/dim.

    Beside it stands the bound of the same VAE with N(0, I) in the prior's place, on
    the same draws of latents: what the learned prior is worth.
    """
    model, beside = run.subject.model, {}
    if model.prior.groups:
        beside[WITH_NORMAL] = dataclasses.replace(model, prior=StandardNormal())
    result = _held_out_terms(run, bound.bound_fn(model, beside))
    if not model.vae.likelihood.density:
        nats, shape = result.metrics["nelbo"]["nats"], model.vae.data_shape
        result.metrics["bits_per_dim"] = bound.bits_per_dim(nats, shape)
    return result


def reconstruction_part(run: Run) -> Result:
    """In place of the bound where the prior has none: -log p(x|z) of held-out data."""
    return _held_out_terms(run, bound.bound_fn(run.subject.model))


def _held_out_terms(run: Run, terms: Callable[..., Any]) -> Result:
    """Means of what ``terms`` finds, in nats with standard errors, and on what."""
    subject = run.subject
    settings, model = subject.settings, subject.model
    seen = hashlib.sha256()
    values = bound.example_values(
        terms,
        subject.params,
        subject.mutables,
        _hashed(seen, _held_out(subject, settings.batch_size, settings.num_examples)),
        jax.random.key(run.seed),
        settings.num_draws,
    )
    found: dict[str, Any] = {
        name: {"nats": e.mean, "standard_error": e.standard_error}
        for name, e in ((n, bound.estimate_mean(v)) for n, v in values.items())
    }
    found |= {
        "num_bits": model.vae.likelihood.num_bits,
        "split": settings.split,
        "binarize": subject.data.binarize,
        "num_examples": len(values["reconstruction"]),
        "examples_sha256": seen.hexdigest(),
        "num_draws": settings.num_draws,
    }
    return Result(metrics=found, per_example=values)


def _held_out(subject: Subject, batch_size: int, num: int | None) -> Iterable[Any]:
    return subject.data.eval_batches(subject.settings.split, batch_size, num)


def _hashed(seen: Any, batches: Iterable[Any]) -> Iterator[Any]:
    """The batches, each example's data shown to the hash ``seen``."""
    for batch in batches:
        for name in sorted(batch.keys() - {"mask", "label"}):
            seen.update(np.ascontiguousarray(batch[name][batch["mask"]]).data)
        yield batch


def likelihood_part(run: Run) -> Result:
    """The bound with the ODE's density of the latents, and importance weights."""
    subject = run.subject
    model, settings = subject.model, subject.settings.likelihood
    assert settings is not None
    seen = hashlib.sha256()
    terms = likelihood.terms_of(
        model,
        settings,
        subject.params,
        subject.mutables,
        _hashed(seen, _held_out(subject, settings.batch_size, settings.num_examples)),
        jax.random.key(run.seed),
    )
    found = likelihood.summary(
        terms, settings, None if model.vae.likelihood.density else model.vae.data_shape
    )
    found |= {
        "split": subject.settings.split,
        "num_bits": model.vae.likelihood.num_bits,
        "binarize": subject.data.binarize,
        "examples_sha256": seen.hexdigest(),
    }
    values = {"nelbo": terms.nelbo.mean(0)}
    if settings.num_samples > 1:
        values["importance_weighted"] = likelihood.importance_weighted(terms.nelbo)
    return Result(metrics=found, per_example=values)


def latents_part(run: Run) -> Result:
    """Statistics of the encoder's latents, by scale and group."""
    subject, settings = run.subject, run.subject.settings
    groups = latents.groups_of(
        subject.model,
        subject.params,
        subject.mutables,
        _held_out(subject, settings.batch_size, settings.latent_examples),
        jax.random.key(run.seed),
    )
    rows = [latents.describe(group) for group in groups]
    warnings = [w for row in rows for w in latents.warnings_of(row)]
    figure = Figure(
        png=latents.picture(groups),
        caption="Latents of held-out images, all variables of a group together, and "
        "the density of N(0, 1).",
        density=2,
    )
    text = " ".join(warnings) or "No warnings."
    return Result(
        metrics={"groups": rows, "warnings": warnings},
        sections=[Section(title="Latents", figures=[figure], text=text)],
    )


def sampling_part(run: Run) -> Result:
    """Network calls and seconds per sample, prior and decoder apart."""
    subject, generated = run.generator, run.generated
    settings, model = subject.settings, subject.model
    num, key = settings.batch_size, jax.random.key(run.seed)
    latents = jax.jit(
        lambda key: model.prior.sample(
            subject.params, subject.mutables, key, (num, *model.vae.prior_shape)
        )
    )
    rest = model.rest_latents(key, num)
    decode = jax.jit(
        lambda z0: model.decode(subject.params, subject.mutables, z0, rest)
    )
    times = timing.time_sampling(latents, decode, key, settings.timing_repeats)
    metrics = {
        "nfe": float(generated.nfe.mean()),
        "nfe_by_batch": sorted(set(generated.nfe.tolist())),
        "num_samples": len(generated.nfe),
        "batch_size": num,
        "seconds_per_sample_prior": times.prior_per_sample,
        "seconds_per_sample_decoder": times.decoder_per_sample,
        "seconds_first_call": times.prior.first + times.decoder.first,
    }
    return Result(metrics=metrics)


def pictures_part(run: Run) -> Result:
    """Samples, reconstructions, the path from noise."""
    view = run.subject.data.view
    samples = Figure(
        png=plots.png(view.picture(run.generated.images[:NUM_SHOWN], COLUMNS)),
        caption="Means of the decoder's distribution, not selected.",
    )
    return Result(
        sections=[
            Section(title="Samples", figures=[samples]),
            Section(title="Reconstructions", figures=[_reconstructions(run)]),
            *_path(run),
        ]
    )


def _reconstructions(run: Run) -> Figure:
    subject, model = run.subject, run.subject.model
    x = model.vae.preprocess(next(iter(_held_out(subject, 24, 24))))
    decoded = jax.jit(model.reconstruct)(
        subject.params,
        subject.mutables,
        jax.random.key(run.seed),
        x,
    )
    real = np.asarray(model.vae.likelihood.shown(x))
    return Figure(
        png=plots.png(subject.data.view.pairs(real, np.asarray(decoded))),
        caption="Held-out images, each with its reconstruction to the right.",
    )


def _path(run: Run) -> list[Section]:
    if run.subject.model.prior.diffusion is None:
        return []
    path = next(run.draw(PATH_IMAGES, PATH_IMAGES, num_path=PATH_STEPS)).path
    assert path is not None
    figure = Figure(
        png=plots.png(run.subject.data.view.path(path)),
        caption="Latents on their way from noise (left) to a sample, decoded.",
    )
    return [Section(title="From noise to image", figures=[figure])]


def exploration_part(run: Run) -> Result:
    """Round trips and interpolations of held-out images."""
    settings = run.subject.settings.exploration
    assert settings is not None
    return Result(sections=walks.sections(run, settings))


def _curves(subject: Subject) -> list[Figure]:
    records = {stage: read_records(path) for stage, path in subject.records.items()}
    drawn = curves.pictures({s: r for s, r in records.items() if r})
    return [Figure(png=png, alt=title, density=2) for title, png in drawn.items()]


def write(subject: Subject, measured: Measured, folder: pathlib.Path) -> None:
    """Write ``metrics.json``, ``per_example.npz``, ``report.html``, and where the
    settings name published figures ``ledger.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    card = {**subject.card, "card_sha256": provenance.digest(subject.card)}
    document = {"card": card, **measured.metrics}
    text = json.dumps(document, indent=2, allow_nan=True) + "\n"
    (folder / "metrics.json").write_text(text)
    arrays: dict[str, Any] = dict(measured.per_example)
    np.savez(folder / "per_example.npz", **arrays)
    rows, published = table(measured.metrics), subject.settings.ledger
    if published is not None:
        text = ledger.markdown(published, measured.metrics, card)
        (folder / "ledger.md").write_text(text, encoding="utf-8")
        rows = ledger.rows(published, measured.metrics) | rows
    write_report(
        folder / "report.html",
        title=card["title"],
        subtitle=f"stage {card['stage']}, step {card['step']}",
        headline=headline(measured.metrics),
        sections=measured.sections,
        metrics=rows,
        card=card,
    )
