"""Likelihoods at few calls, on a model whose densities are known."""

import json
from typing import Any

import numpy as np
import pytest

from lsgm.benchmarks import likelihood
from lsgm.data.images import Images
from lsgm.data.sources.arrays import Npz
from lsgm.evaluation.subject import EvaluationRun
from lsgm.priors.normal import StandardNormal
from lsgm.sdes.vesde import VESDE
from tests.benchmarks.test_samplers import subject


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "test.npz"
    levels = np.random.default_rng(0).integers(0, 256, (30, 2, 2), dtype=np.uint8)
    np.savez(path, x=levels)
    return Images(source=Npz(train=str(path), test=str(path)), image_shape=(2, 2, 1))


@pytest.fixture(scope="module")
def found(data):
    run = EvaluationRun(subject(data), seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likelihood, "TOLERANCES", (1e-1, 1e-5))  # each one compiles
        return list(likelihood.measure(run, 20, 10, [3, 20]))


def test_errors_fall_with_calls_and_with_tolerances(found):
    """Of a Gaussian whose flow is known; the last entries are the adaptive ones."""
    by_entry = {(row.entry, row.nfe): row for row in found}
    assert found[0].mean == found[0].rms == 0
    for order in likelihood.ORDERS:
        few, many = (by_entry[f"residual, order {order}", n] for n in (3, 20))
        assert 0 < many.rms < few.rms / 2
        assert abs(many.mean) <= many.rms
        assert many.standard_error < many.rms + 1e-6
    adaptive = found[-2:]
    assert adaptive[-1].rms < adaptive[0].rms and adaptive[-1].nfe > adaptive[0].nfe


def test_table_and_file_hold_every_entry(found, tmp_path):
    text = likelihood.markdown(found, "dim", 20)
    likelihood.write(found, text, tmp_path)
    lines = (tmp_path / "likelihood.md").read_text().splitlines()
    assert sum(line.startswith("| ") for line in lines) == len(found) + 2
    assert "bits/dim" in text and "20 held-out examples" in text
    rows = json.loads((tmp_path / "likelihood.json").read_text())
    assert [row["nfe"] for row in rows[1:3]] == [3.0, 20.0]
    assert np.isfinite([row["mean"] for row in rows]).all()


def test_other_processes_are_refused(data):
    other = subject(data, VESDE(var_max=100.0))
    with pytest.raises(ValueError, match="variance-preserving"):
        next(likelihood.measure(EvaluationRun(other, seed=0), 20, 10, [3]))
    model = other.model
    prior: Any = StandardNormal()
    normal = other._replace(model=type(model)(vae=model.vae, prior=prior))
    with pytest.raises(ValueError, match="not None"):
        next(likelihood.measure(EvaluationRun(normal, seed=0), 20, 10, [3]))
