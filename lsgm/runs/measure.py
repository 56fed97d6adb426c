"""Evaluate a restored model into a folder, with the card that says what it is."""

import hashlib
import json
import pathlib
from typing import Any

from lsgm.evaluation import evaluate, provenance
from lsgm.evaluation.subject import Subject
from lsgm.locks import lock_file
from lsgm.runs import experiment as experiments
from lsgm.runs.restore import Restored

LOCK = "evaluate.lock"


def subject_of(restored: Restored, *, seed: int) -> Subject:
    """What an evaluation measures, with the card that says where it comes from."""
    experiment = restored.experiment
    stage_folder = restored.folder.parent.parent
    done = experiment.stage_order[: experiment.stage_order.index(restored.stage) + 1]
    return Subject(
        model=restored.model,
        params=restored.params,
        mutables=restored.mutables,
        data=experiment.data,
        settings=experiment.evaluation,
        card=card_of(restored, seed=seed),
        records={name: stage_folder.parent / name / "metrics.jsonl" for name in done},
    )


def measure(restored: Restored, *, seed: int, out: pathlib.Path) -> None:
    """Evaluate into a folder, going on from where an evaluation there stopped.

    Raises:
      lsgm.locks.InUseError: another process evaluates into that folder.
      lsgm.config.ConfigError: the data are not there, or do not hold what is asked.
      lsgm.features.weights_file.WeightsError: the extractor's weights are not those
        that it records.
    """
    experiments.check_data(restored.experiment)
    experiments.check_extractor(restored.experiment)
    subject = subject_of(restored, seed=seed)
    with (
        lock_file(out / LOCK),
        experiments.name_data_keys(subject.data),
    ):
        evaluate.write(subject, evaluate.measure(subject, seed, out), out)


def card_of(restored: Restored, *, seed: int) -> dict[str, Any]:
    """The provenance card (``lsgm.evaluation.provenance``)."""
    settings, data = restored.experiment.evaluation, restored.experiment.data
    config = json.dumps(restored.meta["config"], sort_keys=True).encode()
    raw = restored.meta.get("parameters", "raw")
    tree = {"params": restored.params, "mutables": restored.mutables}
    return {
        "title": restored.title,
        "checkpoint": str(restored.folder),
        "stage": restored.stage,
        "step": restored.step,
        "parameters": "averaged" if restored.average else raw,
        "parameters_sha256": provenance.tree_sha256(tree),
        "config_sha256": hashlib.sha256(config).hexdigest(),
        "seed": seed,
        "prior": repr(restored.model.prior),
        "sampler": repr(getattr(restored.model.prior, "sampler", None)),
        "num_samples": settings.num_samples,
        "sampling_batch_size": settings.batch_size,
        "temperature": settings.temperature,
        "batch_statistics": settings.batch_statistics,
        "recalibration_batches": settings.recalibration_batches,
        "data": data.origin,
        "split": settings.split,
        "num_bits": data.num_bits,
        "binarize": data.binarize,
        "evaluation": repr(settings),
        **provenance.provenance_of(settings),
        **provenance.environment(),
    }
