"""The likelihood report on models whose log p(x) is known."""

import dataclasses

import jax
import numpy as np
import pytest

from lsgm.config import ConfigError, build
from lsgm.evaluation.measures.likelihood import (
    FlowLikelihood,
    importance_weighted,
    summary,
    terms_of,
)
from lsgm.model import LatentModel
from lsgm.objectives.time_sampling import Uniform
from lsgm.objectives.weighting import Unweighted
from lsgm.priors.normal import StandardNormal
from lsgm.priors.score import ScorePrior
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.samplers.residual_flow import ResidualFlow
from lsgm.sdes.vpsde import VPSDE
from tests.evaluation import linear
from tests.priors.exact import GaussianNetwork

SDE, VARIANCE = VPSDE(), 0.6
FLOW = ProbabilityFlow(rtol=1e-4, atol=1e-4, t_end=1e-5)
SCORE = ScorePrior(
    sde=SDE,
    network=GaussianNetwork(SDE, (VARIANCE,)),
    weighting=Unweighted(),
    time_sampler=Uniform(),
    sampler=FLOW,
    mixed=False,
)
EXACT = FlowLikelihood(flow=FLOW, probe="exact", batch_size=4)
WRONG = dict(gain=0.8, finer=0.4, slope=0.5, width=0.6)


def bits_of(nats):
    """Four dimensions an image."""
    return {"bits_per_dim": float(nats.mean()) / (4 * np.log(2))}


def measure(prior, fields, settings, num=10):
    model = LatentModel(vae=linear.vae(**fields), prior=prior)
    params, mutables = prior.init(jax.random.key(0), linear.SHAPE)
    batches = linear.batches(num, settings.batch_size)
    return terms_of(
        model,
        settings,
        {"vae": {}, **params},
        {"vae": {"batch_stats": {}}, **mutables},
        batches,
        jax.random.key(1),
    )


@pytest.mark.parametrize(
    ("prior", "variance"),
    [
        pytest.param(StandardNormal(), 1.0, id="normal"),
        pytest.param(SCORE, VARIANCE, id="score"),
    ],
)
def test_weights_under_the_posterior_are_the_density(prior, variance):
    """-log w = -log p(x) for every latent, whatever is drawn."""
    settings = dataclasses.replace(EXACT, num_samples=2)
    found = measure(prior, linear.posterior(0.8, variance), settings)
    expected = linear.neg_log_prob(linear.images(10), 0.8, 0.0, variance)
    assert found.nelbo.shape == (2, 10)
    np.testing.assert_allclose(found.nelbo, np.stack([expected] * 2), atol=3e-3)
    np.testing.assert_allclose(importance_weighted(found.nelbo), expected, atol=3e-3)
    calls = found.nfe["cross_entropy"]
    assert len(calls) == 2 * 3  # two latents of three batches
    assert (calls % 6 == 2).all() if prior.groups else not calls.any()


def test_importance_weights_bound_log_p_and_tighten():
    settings = FlowLikelihood(num_samples=512, batch_size=100)
    nelbo = measure(StandardNormal(), WRONG, settings, num=100).nelbo
    exact = linear.neg_log_prob(linear.images(100), 0.8, 0.4, 1.0)
    gaps = [
        np.mean(
            [importance_weighted(part) - exact for part in np.split(nelbo, 512 // k)]
        )
        for k in (1, 8, 64, 512)
    ]
    assert all(a > 2 * b for a, b in zip(gaps[:-1], gaps[1:], strict=True))
    assert 0 < gaps[-1] < 0.02


def test_negative_elbo_is_its_closed_form():
    """Each part, for q that is not the posterior, in the mean over latents."""
    num = 2000
    settings = FlowLikelihood(num_samples=num, batch_size=3)
    values = measure(StandardNormal(), WRONG, settings, num=3).values
    x = 2.0 * linear.images(3) / 255 - 1.0
    gain, finer, slope, width = WRONG.values()
    mean, error = (slope * x) ** 2, (x - gain * slope * x) ** 2
    spread = (gain * width) ** 2 + finer**2
    log_2pi = linear.LOG_2PI
    expected = {
        "reconstruction": 0.5 * ((error + spread) / linear.NOISE**2 + log_2pi)
        + np.log(linear.NOISE),
        "neg_entropy": np.full_like(x, -1 - log_2pi - np.log(width)),
        "cross_entropy": 0.5 * (mean + width**2 + 1) + log_2pi,
    }
    for name, term in expected.items():
        error = values[name].std(0) / num**0.5
        gap = values[name].mean(0) - term.sum((1, 2, 3))
        assert np.all(abs(gap) < 4.5 * error), name
        assert np.all(error < 0.1)


def test_overflowing_weights_do_not_overflow():
    nelbo = np.array([[5000.0, -3000.0], [5001.0, 3000.0]])
    expected = [5000 - np.log((1 + np.exp(-1)) / 2), -3000 + np.log(2)]
    np.testing.assert_allclose(importance_weighted(nelbo), expected, rtol=1e-12)


def test_a_fixed_number_of_calls_is_told_and_halved():
    """The density is known; the second solve has fewer steps."""
    flow = ResidualFlow(num_steps=60, t_end=FLOW.t_end)
    settings = dataclasses.replace(EXACT, flow=flow, loosened=2.0)
    terms = measure(SCORE, linear.posterior(0.8, VARIANCE), settings)
    expected = linear.neg_log_prob(linear.images(10), 0.8, 0.0, VARIANCE)
    np.testing.assert_allclose(terms.nelbo[0], expected, atol=5e-3)
    found = summary(terms, settings, bits_of)
    assert (found["nfe"], found["num_steps"], found["order"]) == (60, 60, 2)
    assert found["loosened"]["num_steps"] == found["loosened"]["nfe"] == 30
    rows = sum(
        FlowLikelihood.rows(found | {"num_bits": 8, "split": "test"}).values(), []
    )
    assert any("60 steps of order 2" in (row.note or "") for row in rows)
    assert any("with 30 steps of order 2" in row.label for row in rows)


@pytest.fixture(scope="module")
def solved():
    # The Jacobian is diagonal here, so that random signs give its trace.
    random = dict(probe="rademacher", num_probes=2, loosened=100.0)
    settings = dataclasses.replace(EXACT, num_samples=3, **random)
    return measure(SCORE, WRONG, settings), settings


def test_summary_has_means_errors_and_bits(solved):
    terms, settings = solved
    found = summary(terms, settings, bits_of)
    per_image = terms.nelbo.mean(0)
    assert found["nelbo"]["nats"] == pytest.approx(per_image.mean())
    error = per_image.std(ddof=1) / 10**0.5
    assert found["nelbo"]["standard_error"] == pytest.approx(error)
    bits = per_image.mean() / (4 * np.log(2))
    assert found["nelbo"]["bits_per_dim"] == pytest.approx(bits)
    parts = ("reconstruction", "neg_entropy", "cross_entropy")
    total = sum(found[name]["nats"] for name in parts)
    assert total == pytest.approx(found["nelbo"]["nats"])
    assert found["importance_weighted"]["nats"] < found["nelbo"]["nats"]
    assert (found["num_examples"], found["num_samples"]) == (10, 3)


def test_summary_compares_two_tolerances(solved):
    """The same latents, so the difference is the solver's alone, and paired."""
    terms, settings = solved
    found = summary(terms, settings, bits_of)["loosened"]
    assert found["rtol"] == pytest.approx(1e-2)
    assert found["nfe"] < terms.nfe["cross_entropy"].mean()
    change = terms.values["loosened"] - terms.values["cross_entropy"]
    assert 1e-6 < abs(change).max() < 0.5
    assert found["difference"]["nats"] == pytest.approx(change.mean())
    error = change.mean(0).std(ddof=1) / 10**0.5
    assert found["difference"]["standard_error"] == pytest.approx(error)
    assert found["nelbo"]["nats"] == pytest.approx((terms.nelbo + change).mean())


def test_table_says_what_is_a_bound(solved):
    terms, settings = solved
    for probe, word in (("exact", "upper bound"), ("rademacher", "optimistic")):
        changed = dataclasses.replace(settings, probe=probe, num_probes=1)
        found = summary(terms, changed, bits_of)
        (rows,) = FlowLikelihood.rows(found | {"num_bits": 5, "split": "test"}).values()
        by_label = {row.label: row for row in rows if row.unit == "nats"}
        assert word in by_label["Importance-weighted, K = 3"].note
        assert "upper bound" in by_label["Negative ELBO"].note
        assert "bits/dim of 5-bit data" in {row.unit for row in rows}


def test_exact_prior_solves_nothing():
    settings = FlowLikelihood(batch_size=4)
    terms = measure(StandardNormal(), WRONG, settings, num=4)
    found = summary(terms, settings, bits_of)
    assert found["nfe"] == 0 and "loosened" not in found and "rtol" not in found
    rows = FlowLikelihood.rows(found | {"num_bits": 8, "split": "test"})
    assert not any("Network" in row.label for row in sum(rows.values(), []))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_samples", 0, "at least 1"),
        ("loosened", 1.0, "above 1"),
        ("probe", "radmacher", "did you mean 'rademacher'"),
        ("num_probes", 4, "no random probes"),
    ],
)
def test_impossible_settings_are_refused(field, value, message):
    spec = {
        "target": "lsgm.evaluation.measures.likelihood:FlowLikelihood",
        field: value,
    }
    if field == "num_probes":
        spec["probe"] = "exact"
    with pytest.raises(ConfigError, match=message):
        build(spec)
