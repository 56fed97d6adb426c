"""What is trained once."""

import pathlib

import pytest

from lsgm.config import plain
from lsgm.studies import jobs
from lsgm.studies.study import StudyRun, replaced
from tests import tiny

FOLDER = pathlib.Path("/study")


def run(label: str, changes: dict, seed: int = 0) -> StudyRun:
    config = {**plain(tiny.config()), "seed": seed}
    for key, value in changes.items():
        config = replaced(config, key, value, "")
    return StudyRun(labels={"axis": label}, seed=seed, config=config)


def test_priors_on_one_vae_share_its_stage_seed_by_seed():
    runs = [
        run(label, {"stages.lsgm.prior.mixed": mixed}, seed)
        for seed in (0, 1)
        for label, mixed in (("on", True), ("off", False))
    ]
    found = jobs.of_runs(runs, FOLDER)
    shared = [job for job in found if not job.evaluates]
    assert [job.name for job in found if job.evaluates] == [r.name for r in runs]
    assert len(shared) == 2
    for job, seed in zip(shared, (0, 1), strict=True):
        assert job.config["stage_order"] == ("vae",)
        assert list(job.config["stages"]) == ["vae"]
        assert job.config["seed"] == seed
        users = [j for j in found if j.needs == job.name]
        assert [j.config["seed"] for j in users] == [seed, seed]
        assert all(j.source == job.folder and j.taken == ("vae",) for j in users)
        assert found.index(job) < min(map(found.index, users))


def test_what_only_looks_at_a_model_shares_all_stages():
    runs = [
        run("a", {"stages.lsgm.prior.sampler.num_steps": 2}),
        run("b", {"stages.lsgm.prior.sampler.num_steps": 9}),
        run("c", {"evaluation.num_samples": 4}),
    ]
    shared, *others = jobs.of_runs(runs, FOLDER)
    assert shared.config["stage_order"] == ("vae", "lsgm") and shared.needs is None
    assert all(job.taken == ("vae", "lsgm") for job in others)


def test_prefixes_of_several_lengths_build_on_one_another():
    runs = [
        run("a", {"evaluation.num_samples": 4}),
        run("b", {"evaluation.num_samples": 8}),
        run("c", {"stages.lsgm.prior.mixed": False}),
    ]
    vae, lsgm, a, b, c = jobs.of_runs(runs, FOLDER)
    assert (vae.needs, lsgm.needs) == (None, vae.name)
    assert lsgm.taken == ("vae",) and lsgm.config["stage_order"] == ("vae", "lsgm")
    assert (a.needs, b.needs, c.needs) == (lsgm.name, lsgm.name, vae.name)
    assert (a.taken, c.taken) == (("vae", "lsgm"), ("vae",))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("stages.vae.batch_size", 8),
        ("vae.network.latent_channels", 3),
        ("data.binarize", "none"),
        ("stages.vae.optimizers.vae.lr", 2e-3),
    ],
)
def test_what_the_first_stage_depends_on_is_not_shared(key, value):
    found = jobs.of_runs([run("a", {}), run("b", {key: value})], FOLDER)
    assert [job.needs for job in found] == [None, None]


def test_a_run_alone_shares_nothing():
    (job,) = jobs.of_runs([run("a", {})], FOLDER)
    assert (job.needs, job.source, job.taken) == (None, None, ())
