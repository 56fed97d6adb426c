"""The reader benchmark: Eq. (1), and a rate that is a rate."""

import json
import time

import numpy as np
import pytest

from lsgm.benchmarks import data as benchmark
from lsgm.data.images import Images
from lsgm.data.sources.mnist5k import MNIST5k

RATES = benchmark.Rates(
    one_thread=50.0, read_threads=2, all_threads=90.0, num_bytes=2**31, cached=False
)


def test_needs():
    """64 images in 0.4 s are 160 a second, which two hosts share."""
    sizes = {"vae": 64, "prior": 96}
    vae, prior = benchmark.needs(RATES, sizes, step_seconds=0.4, hosts=2)
    assert vae.images_per_second == pytest.approx(80) and vae.keeps_up
    assert vae.cores == pytest.approx(80 / 50)
    assert prior.images_per_second == pytest.approx(120) and not prior.keeps_up


def test_rate_counts_images_and_time():
    def slow():
        while True:
            time.sleep(0.01)
            yield {"levels": np.zeros((3, 1))}

    assert 100 < benchmark._rate(slow(), 0.3) <= 300


def test_measured_without_the_cache(tmp_path):
    data = Images(source=MNIST5k(), image_shape=(28, 28, 1), num_bits=1)
    rates = benchmark.measure(data, seconds=0.05)
    assert rates.num_bytes == 4000 * 784 and rates.cached
    assert rates.one_thread > 0 and rates.all_threads > 0
    found = benchmark.needs(RATES, {"vae": 64}, step_seconds=0.4, hosts=1)
    text = benchmark.markdown(RATES, found, step_seconds=0.4, hosts=1)
    assert "2.00 GiB, is decoded every epoch" in text
    assert "| vae | no: raise config.data.read_threads | 64 | 160 | 3.20 |" in text
    benchmark.write(RATES, found, text, tmp_path)
    assert (
        json.loads((tmp_path / "data.json").read_text())["needs"][0]["stage"] == "vae"
    )
