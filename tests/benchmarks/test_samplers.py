"""The tournament on a model whose flow and densities are known."""

import csv
import dataclasses
import json
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.benchmarks import sampler_entries as entries
from lsgm.benchmarks import samplers as tournament
from lsgm.benchmarks import samplers_report as report
from lsgm.config import ConfigError
from lsgm.data.images import Images
from lsgm.data.sources.arrays import Npz
from lsgm.evaluation.settings import Evaluation
from lsgm.evaluation.subject import Subject
from lsgm.model import LatentModel
from lsgm.objectives.time_sampling import Uniform
from lsgm.objectives.weighting import LikelihoodWeighting
from lsgm.priors.normal import StandardNormal
from lsgm.priors.score import ScorePrior
from lsgm.samplers.grids import marginals
from lsgm.samplers.normal_residual import NormalResidual
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.sdes.geometric import GeometricVPSDE
from lsgm.sdes.subvpsde import SubVPSDE
from lsgm.sdes.vesde import VESDE
from lsgm.sdes.vpsde import VPSDE
from tests.evaluation import linear
from tests.priors.exact import GaussianNetwork

VP, VARIANCE = VPSDE(), 0.4
FIELDS = linear.posterior(1.3, 0.8)


def subject(data, sde: Any = VP):
    prior = ScorePrior(
        sde=sde,
        network=GaussianNetwork(sde, (VARIANCE,)),
        weighting=LikelihoodWeighting(),
        time_sampler=Uniform(),
        sampler=ProbabilityFlow(),
        mixed=False,
    )
    return Subject(
        model=LatentModel(vae=linear.vae(**FIELDS), prior=prior),
        params={"vae": {}, "prior": {"network": {}}},
        mutables={"vae": {"batch_stats": {}}, "prior": {"active": jnp.ones(1)}},
        data=data,
        settings=Evaluation(measures=(), batch_size=10),
        card={},
        records={},
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "train.npz"
    levels = np.random.default_rng(0).integers(0, 256, (30, 2, 2), dtype=np.uint8)
    np.savez(path, x=levels)
    return Images(source=Npz(train=str(path)), image_shape=(2, 2, 1))


@pytest.fixture(scope="module")
def played(data):
    return tournament.Tournament(subject(data), num_samples=60, num_draws=1)


def test_an_entry_is_run_counted_and_judged(played):
    round_ = played.round(0, solve=False)
    t_end = NormalResidual().t_end
    exact = jnp.sqrt(VP.alpha(jnp.array([t_end])) ** 2 * VARIANCE)
    solution = tournament.SamplerRun(0, 0.0, np.asarray(exact[0] * round_.u1))
    row = played.play(
        "x", NormalResidual(num_steps=12), round_._replace(solved=solution)
    )
    assert (row.nfe, row.calls, row.seed) == (12, 12, 0)
    assert row.seconds > 0 and row.rms < 2e-2
    log_q = played.mixture.log_prob(np.asarray(solution.z0)).mean()
    assert row.log_q == pytest.approx(log_q, rel=2e-2)
    assert math.isnan(row.kernel) and math.isnan(row.frechet)
    assert any("names no extractor" in note for note in played.notes)


@pytest.mark.slow
def test_adaptive_solvers_run_with_their_loop_on_the_host(played):
    """And make the calls that they say: ``_run`` compares."""
    round_ = played.round(1, solve=False)
    row = played.play("RK45", ProbabilityFlow(rtol=1e-2, atol=1e-2), round_)
    assert row.nfe % 6 == 2 and row.nfe > 8


def test_a_wrong_count_is_not_believed(played, monkeypatch):
    monkeypatch.setattr(tournament.Counted, "__call__", lambda self, u, t: 0 * u)
    with pytest.raises(RuntimeError, match="reports 3 calls and made 0"):
        played.play("x", NormalResidual(num_steps=3), played.round(0, solve=False))


def test_rounds_share_noise_and_differ_from_each_other(played):
    first, again, other = (played.round(seed, solve=False) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.u1, again.u1)
    np.testing.assert_array_equal(first.latents, again.latents)
    assert not np.any(first.u1 == other.u1)
    noise, encoder = played.ends(first)
    assert (noise.nfe, encoder.nfe) == (0, 0)
    # The encoder's latents are from the mixture, noise is not.
    assert encoder.log_q > noise.log_q
    assert abs(encoder.c2st - 0.5) < 0.2


def test_methods_that_do_not_fit_the_process_are_noted(data):
    found = tournament.Tournament(subject(data, SubVPSDE()), 20, 1)
    names = [family.name for family in found.families()]
    assert "Normal residual" not in names and len(names) == 10
    assert any("Normal residual does not play" in note for note in found.notes)


def test_other_priors_are_refused(data):
    right = subject(data)
    model = dataclasses.replace(right.model, prior=StandardNormal())
    wrong = right._replace(model=model)
    with pytest.raises(
        ConfigError, match="a tournament needs a prior with a diffusion"
    ):
        tournament.Tournament(wrong, 20, 1)


@pytest.mark.parametrize("sde", [VP, GeometricVPSDE(), VESDE(var_max=50.0)], ids=str)
def test_variants_fit_their_process_and_spend_at_most_what_is_asked(sde):
    for family in entries.families(sde):
        for calls in family.calls((3, 10)):
            for variant in family.variants:
                sampler = entries.with_calls(variant, calls)
                assert 0 < sampler.t_end < sampler.t_start <= 1
            if isinstance(sde, family.variants[0].needs):
                spent = len(
                    entries.with_calls(family.variants[0], calls).table(sde)["t"]
                )
                assert calls - 1 <= spent <= calls


def test_starts_are_at_the_same_noise_for_every_process():
    for sde in (VP, VESDE(var_max=1000.0)):
        starts = {variant.t_start for variant in entries.families(sde)[1].variants}
        at = np.array(sorted(starts))
        kappa = marginals(sde, at).kappa
        np.testing.assert_allclose(kappa[:2], sorted(entries.KAPPAS), rtol=1e-2)
        assert at[-1] == 1


def test_calls_that_buy_nothing_more_are_left_out():
    heun = next(f for f in entries.families(VP) if f.name == "Heun")
    assert heun.calls((1, 2, 3, 4, 5)) == [1, 3, 5]
    assert [entries.steps_of(heun.variants[0], c) for c in (1, 3, 4)] == [1, 2, 2]


def rows():
    """Three rounds of five entries with chosen numbers."""
    table = {
        # log_q and c2st in three rounds; the encoder's log_q is -10.
        tournament.ENCODER: ("", 0, (-10.0, -10.0, -10.0), (0.5, 0.5, 0.5)),
        entries.BASELINE: ("", 44, (-20.0, -22.0, -24.0), (0.55, 0.56, 0.57)),
        "even": ("v", 3, (-20.5, -21.5, -24.0), (0.56, 0.55, 0.57)),
        "worse": ("v", 3, (-20.2, -22.2, -24.21), (0.55, 0.56, 0.57)),
        "shrunk": ("v", 3, (-9.0, -8.0, -9.0), (0.95, 0.96, 0.97)),
    }
    for name, (variant, nfe, log_qs, c2sts) in table.items():
        for seed, (log_q, c2st) in enumerate(zip(log_qs, c2sts, strict=True)):
            rest = (0.1, log_q, c2st, math.nan, math.nan)
            yield tournament.EntryRow(name, variant, nfe, seed, nfe, 1e-3, *rest)


def test_entries_are_compared_in_pairs_and_without():
    found = {entry.family: entry for entry in report.entries(list(rows()))}
    log_q = {name: entry.metrics["log_q"] for name, entry in found.items()}
    assert log_q["even"].value == pytest.approx(-22)
    assert log_q["even"].standard_error == pytest.approx(
        np.std([20.5, 21.5, 24], ddof=1) / 3**0.5
    )
    assert (log_q["even"].paired, log_q["even"].plain) == (0, 0)
    # Worse by 0.2 in every round, which differ by 2 from each other.
    assert (log_q["worse"].paired, log_q["worse"].plain) == (1, 0)
    # Above the encoder's by 1 to 2 is nearer to it than 10 to 14 below.
    assert (log_q["shrunk"].paired, log_q["shrunk"].plain) == (-1, -1)
    assert found["shrunk"].metrics["c2st"].paired == 1
    assert "kernel" not in found["even"].metrics
    paired, plain = (
        report.answers(list(found.values()), k) for k in ("paired", "plain")
    )
    assert set(paired) == {"even", "worse", "shrunk"}
    assert paired["even"].nfe == 3 and paired["worse"] is None
    assert plain["worse"].nfe == 3 and plain["shrunk"] is None


def test_written_files(tmp_path):
    card = {"title": "demo", "step": 3}
    text = report.write(list(rows()), card, ["no log density: why"], tmp_path)
    assert text == (tmp_path / "samplers.md").read_text()
    assert "| even | v | 3 | 1 |" in text and "- no log density: why" in text
    assert "| worse | none | 3 |  |" in text
    with (tmp_path / "samplers.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 15
    found = json.loads((tmp_path / "samplers.json").read_text())["entries"]
    assert found[3]["metrics"]["log_q"]["paired"] == 1
    assert (tmp_path / "samplers.png").read_bytes()[:4] == b"\x89PNG"
    assert "Samplers on demo" in (tmp_path / "samplers.html").read_text()


@pytest.mark.slow
def test_a_small_tournament(data):
    settings = tournament.Settings(seeds=2, num_samples=20, calls=(2, 3))
    found, notes = tournament.play(subject(data), settings)
    solved = [row for row in found if row.family == entries.CONVERGED]
    assert [row.rms for row in solved] == [0.0, 0.0]
    assert len(report.entries(found)) == 2 + 5 + 2 * 6
    assert len(notes) == 1
