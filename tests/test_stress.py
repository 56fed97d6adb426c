"""The short form of ``make stress``: one fault of the kinds that cost least."""

import shutil

import numpy as np
import pytest

from tests.stress import scenarios
from tests.stress.bench import Bench, Lost, finish, same_training, train_words


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    """With an undisturbed training."""
    folder = tmp_path_factory.mktemp("stress")
    found = Bench(np.random.default_rng(0), folder, folder / "whole", seconds=5.0)
    finish(found, train_words(found.whole))
    return found


def test_a_training_survives_a_kill_while_it_saves(bench):
    assert scenarios.kill_saving(bench) == 1


def test_a_training_survives_a_damaged_checkpoint(bench):
    assert scenarios.damage_storage(bench) == 1


def test_a_training_with_other_numbers_is_told(bench, tmp_path):
    """What compares runs can fail."""
    shutil.copytree(bench.whole, tmp_path / "other")
    records = tmp_path / "other" / "lsgm" / "metrics.jsonl"
    records.write_text(records.read_text().replace("1", "2", 1))
    with pytest.raises(Lost, match="other lsgm records"):
        same_training(bench, tmp_path / "other")
    shutil.rmtree(tmp_path / "other" / "vae")
    shutil.copytree(bench.whole / "lsgm", tmp_path / "other" / "vae")
    with pytest.raises(Lost, match="other vae"):
        same_training(bench, tmp_path / "other")
