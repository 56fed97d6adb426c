"""Posteriors of a chain's steps, against Bayes' rule on a grid."""

import dataclasses

import numpy as np
import pytest

from lsgm.benchmarks import denoising
from lsgm.benchmarks.mixture import NormalMixture
from lsgm.sdes.chain import Chain

MIXTURE = NormalMixture(centers=(-1.0, 1.5), weights=(0.4, 0.6), deviation=0.3)


def normal(x, mean, var):
    return np.exp(-0.5 * (x - mean) ** 2 / var) / np.sqrt(2 * np.pi * var)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_posterior_is_bayes_rule(level):
    chain = Chain(num_steps=3)
    x_k, x = np.array([-0.5, 0.8]), np.linspace(-6, 6, 6001)
    abar = np.append(1.0, chain.table.abar)[level - 1]
    centers = np.sqrt(abar) * np.asarray(MIXTURE.centers)
    prior = normal(x[:, None], centers, abar * 0.3**2 + 1 - abar) @ MIXTURE.weights
    beta = chain.table.beta[level - 1]
    joint = prior * normal(x_k[:, None], np.sqrt(1 - beta) * x, beta)
    mass = joint / joint.sum(axis=1, keepdims=True)
    expected = mass / (x[1] - x[0])
    found = denoising.posterior(MIXTURE, chain, level, x_k)
    density = found.density(np.tile(x, (2, 1)))
    np.testing.assert_allclose(density, expected, rtol=1e-6, atol=1e-9)
    mean, var = found.moments()
    np.testing.assert_allclose(mean, mass @ x, rtol=1e-6, atol=1e-9)
    best = normal(x, mean[:, None], var[:, None])
    divergence = np.sum(mass * np.log((density + 1e-300) / best), axis=1)
    np.testing.assert_allclose(found.divergence(), divergence, rtol=1e-3, atol=1e-6)


def test_normal_data_have_normal_posteriors():
    alone = dataclasses.replace(MIXTURE, centers=(0.5,), weights=(1.0,))
    found = denoising.measure(alone, "published", 3)
    np.testing.assert_allclose(found.divergence, 0, atol=1e-6)


def test_smaller_steps_are_nearer_to_normal():
    worst = [max(denoising.measure(MIXTURE, "published", n).divergence) for n in (1, 8)]
    worst.append(max(denoising.measure(MIXTURE, "published", 64).divergence))
    assert worst[0] > 0.1 > 0.01 > worst[2] and worst[0] > worst[1] > worst[2]


def test_table_and_files(tmp_path, monkeypatch):
    monkeypatch.setattr(denoising, "SHOWN", (1, 4))
    found = [
        denoising.measure(MIXTURE, name, num)
        for num in (1, 4)
        for name in denoising.SCHEDULES
    ]
    text = denoising.markdown(found)
    assert len(text.splitlines()) == 4
    published = [row for row in found if row.schedule == "published"]
    picture = denoising.draw(MIXTURE, published)
    denoising.write(found, text, picture, tmp_path)
    assert (tmp_path / "denoising.png").read_bytes().startswith(b"\x89PNG")
    assert found[0].worst == 1 and found[2].num_steps == 4
