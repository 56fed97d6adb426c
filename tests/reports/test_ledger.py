"""Published figures beside measured ones: what is compared, and what is not."""

import pytest

from lsgm.evaluation.measures.bound import HeldOutBound
from lsgm.evaluation.measures.distances import Distances
from lsgm.evaluation.measures.sampling import SamplingCost
from lsgm.reports import ledger
from lsgm.reports.ledger import Ledger

METRICS = {
    "bound": {
        "nelbo": {"nats": 100_000.0, "standard_error": 500.0},
        "bits_per_dim": 0.75,
        "num_bits": 5,
        "num_examples": 3000,
        "split": "test",
    },
    "sampling": {
        "nfe": 26.0,
        "seconds_per_sample_prior": 0.3,
        "seconds_per_sample_decoder": 0.1,
        "batch_size": 64,
    },
    "distance": {
        "name": "FID",
        "samples": {"frechet": {"value": 8.0, "standard_error": 0.1}},
    },
}
PAPER = Ledger(
    source="a paper", fid=7.22, bits_per_dim=0.7, nfe=23.0, seconds_per_sample=0.26
)
CARD = {
    "title": "run",
    "stage": "lsgm",
    "step": 10,
    "seed": 0,
    "parameters": "averaged",
    "num_samples": 50_000,
    "device": "1 x cpu",
    "card_sha256": 64 * "a",
}


def _reproduced(metrics):
    measures = (HeldOutBound, SamplingCost, Distances)
    return [
        r for m in measures if m.name in metrics for r in m.reproduced(metrics[m.name])
    ]


def _by_name(paper, metrics):
    found = ledger.entries(paper, _reproduced(metrics))
    return {e.quantity.split(",")[-1]: e for e in found}


def test_differences_are_ours_less_the_published():
    found = _by_name(PAPER, METRICS)
    assert found["FID"].difference == pytest.approx(0.78)
    assert found[" bits/dim"].difference == pytest.approx(0.05)
    assert found["network calls per sample"].difference == 3
    # The error of bits/dim is that of nats, in its unit.
    assert found[" bits/dim"].ours.standard_error == pytest.approx(0.75 * 0.005)


def test_seconds_of_another_device_are_shown_and_not_compared():
    entry = _by_name(PAPER, METRICS)["seconds per sample"]
    assert (entry.published, entry.ours.value) == (0.26, pytest.approx(0.4))
    assert entry.difference is None and "another device" in entry.note


def test_another_distance_is_not_fid():
    few = METRICS | {"distance": METRICS["distance"] | {"name": "FID_500"}}
    entry = _by_name(PAPER, few)["FID"]
    assert entry.ours.value == 8.0 and entry.difference is None
    assert "FID_500, which is another measure" in entry.note
    none = {k: v for k, v in METRICS.items() if k != "distance"}
    entry = _by_name(PAPER, none)["FID"]
    assert entry.ours is None and "no extractor" in entry.note


def test_a_twin_is_compared_with_nothing():
    twin = Ledger(source="a paper", fid=7.22, bits_per_dim=0.7, nfe=23.0, twin=True)
    found = ledger.entries(twin, _reproduced(METRICS))
    assert all(entry.difference is None for entry in found)
    assert all("a twin" in entry.note for entry in found)


def test_binary_data_are_compared_in_nats():
    found = _by_name(Ledger(source="a paper", nats=99_000.0), METRICS)
    assert found[" nats"].difference == pytest.approx(1000)
    assert " bits/dim" not in found


def test_page_shows_every_entry_and_its_card():
    page = ledger.markdown(PAPER, _reproduced(METRICS), CARD)
    assert "| FID | 7.220 | 8.00 ± 0.10 | +0.78 |" in page
    assert "| network calls per sample | 23.00 | 26.00 | +3 |" in page
    assert "step 10, seed 0" in page and "aaaaaaaaaaaaaaaa" in page
    rows = ledger.rows(PAPER, _reproduced(METRICS))["Reproduction of a paper"]
    assert rows[0].note == "published 7.220, difference +0.78"
