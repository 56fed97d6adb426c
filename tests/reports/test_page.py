"""The page: valid, whole, offline, with every word escaped and every number right."""

import base64
import html.parser
import io
import math
import re

import numpy as np
import pytest
from PIL import Image

from lsgm.data.sources.mnist5k import MNIST5k
from lsgm.reports import curves, plots
from lsgm.reports.page import (
    Figure,
    Metric,
    Section,
    format_value,
    png_size,
    write_report,
)

VOID = {"meta", "img", "link", "br"}
STEPS = {"vae": 2000, "lsgm": 3000}


def _digits(num, start=0):
    examples = MNIST5k().open("test")
    return examples.images[start::7][:num]


def _records(steps, start, end, seed):
    """A run that falls from ``start`` to ``end`` nats, with noise."""
    rng = np.random.default_rng(seed)
    records = []
    for step in range(50, steps + 1, 50):
        nelbo = end + (start - end) * math.exp(-step / 300) + rng.normal(0, 1.5)
        records.append(
            {
                "step": step,
                "nelbo": nelbo,
                "reconstruction": 0.7 * nelbo,
                "neg_entropy": -0.6 * nelbo,
                "cross_entropy": 0.9 * nelbo,
                "loss_vae": 0.9 * nelbo,
                "loss_prior": 0.4 * nelbo,
                "grad_norm_vae": abs(rng.normal(20, 4)),
                "grad_norm_prior": abs(rng.normal(3, 1)),
            }
        )
        if step % 500 == 0:
            records.append({"step": step, "held_out/nelbo": nelbo + 3})
    return records


def _figures():
    digits = _digits(64)
    rng = np.random.default_rng(0)
    share = np.linspace(0, 1, 14)[:, None, None, None, None]
    noise = rng.random((6, 28, 28, 1))
    path = share * digits[:60:10] / 255 + (1 - share) * noise
    stages = {
        name: _records(steps, start, end, i)
        for i, ((name, steps), (start, end)) in enumerate(
            zip(STEPS.items(), [(540, 112), (110, 96)], strict=True)
        )
    }
    drawn = curves.pictures(stages)
    return digits, path, drawn


def write_demo(path):
    """A report of the size and kind that an evaluation writes, on real digits."""
    digits, steps, drawn = _figures()
    pairs = plots.pairs(digits[:24], np.clip(digits[:24] / 255, 0.1, 0.9))
    bound = Metric(
        label="negative ELBO",
        value=98.4321,
        unit="nats",
        standard_error=0.5712,
        note="upper bound on -log p(x), dynamic binarisation",
    )
    bits = Metric(
        label="bound",
        value=0.181134,
        unit="bits/dim",
        standard_error=0.00105,
        note="",
    )
    calls = Metric(label="network calls", value=44.0, unit="per sample")
    distance = Metric(
        label="FD_500 (digit CNN)", value=12.3456, note="real against real: 0.81 ± 0.09"
    )
    write_report(
        path,
        title="LSGM on mnist5k",
        subtitle="stage lsgm, step 3,000, averaged parameters; 500 held-out digits",
        headline=[bound, bits, calls, distance],
        sections=[
            Section(
                title="Samples",
                figures=[
                    Figure(png=plots.png(plots.grid(digits, 16)), alt="64 samples")
                ],
                text="First 64 samples of seed 0, not selected.",
            ),
            Section(
                title="Reconstructions",
                figures=[
                    Figure(
                        png=plots.png(pairs),
                        alt="pairs of images",
                        caption="left the held-out image, right its reconstruction",
                    )
                ],
            ),
            Section(
                title="From noise to image",
                figures=[
                    Figure(
                        png=plots.png(plots.strip(steps)),
                        alt="rows of ever clearer digits",
                        caption="time runs from left to right, one sample a row",
                    )
                ],
            ),
            Section(
                title="Training",
                figures=[
                    Figure(png=png, alt=f"{title} by step", density=2)
                    for title, png in drawn.items()
                ],
            ),
        ],
        metrics={
            "Bound on held-out data": [bound, bits],
            "Sampling": [
                calls,
                Metric(label="prior", value=0.01234, unit="s per sample"),
                Metric(label="decoder", value=0.000871, unit="s per sample"),
            ],
            "Distance to real images": [distance],
        },
        card={
            "checkpoint": "runs/demo/lsgm/checkpoints/3000",
            "config SHA-256": "9f" * 32,
            "sampler": "ProbabilityFlow(rtol=1e-05, atol=1e-05, t_end=1e-05)",
            "samples": 500,
        },
    )


class _Page(html.parser.HTMLParser):
    """Checks that tags nest, and collects what the page refers to."""

    def __init__(self, text):
        super().__init__()
        self.open, self.sources, self.text, self.ids = [], [], [], []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "action"):
                self.sources.append(value)
            if name == "id":
                self.ids.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        self.text.append(data.strip())


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "page.html"
    write_demo(path)
    return path.read_text()


def test_tags_nest_and_ids_are_unique(page):
    parsed = _Page(page)
    assert page.startswith("<!DOCTYPE html>")
    assert len(set(parsed.ids)) == len(parsed.ids) >= 2


def test_nothing_is_fetched(page):
    words = re.sub(r"base64,[^\"]+", "", page)
    assert not re.search(r"https?:|//|@import|url\(|<script|<link", words)
    assert all(s.startswith("data:image/png;base64,") for s in _Page(page).sources)


def test_every_picture_decodes_at_the_size_given(page):
    tags = re.findall(r'<img[^>]*width="(\d+)" height="(\d+)"[^>]*base64,([^"]+)', page)
    assert len(tags) == 3 + 6
    for width, height, data in tags:
        image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
        image.load()
        assert image.size in [
            (int(width), int(height)),
            (2 * int(width), 2 * int(height)),
        ]


def test_samples_arrive_unchanged(page):
    data = re.search(r"base64,([^\"]+)", page).group(1)
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    np.testing.assert_array_equal(found, plots.grid(_digits(64), 16)[..., 0])


def test_order_is_numbers_pictures_table_card(page):
    titles = ["Samples", "Reconstructions", "From noise to image", "Training"]
    marks = ['class="strip"', *(f"<h2>{t}" for t in titles)]
    marks += ["<h2>Metrics", "<h2>Provenance"]
    places = [page.index(mark) for mark in marks]
    assert places == sorted(places)
    text = _Page(page).text
    for expected in ("98.43", "0.57", "44.00", "12.35", "0.01234", "9f" * 32):
        assert expected in text, expected


def test_everything_is_escaped(tmp_path):
    evil = "<script>alert('x')</script> & \" $title"
    png = plots.png(np.zeros((2, 2, 1), np.uint8))
    metric = Metric(label=evil, value=1, unit=evil, note=evil)
    write_report(
        tmp_path / "page.html",
        title=evil,
        subtitle=evil,
        headline=[metric],
        sections=[
            Section(
                title=evil, text=evil, figures=[Figure(png=png, alt=evil, caption=evil)]
            )
        ],
        metrics={evil: [metric]},
        card={evil: evil},
    )
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page
    # Title twice, subtitle; tile; section's two; caption and alt; table's four; card.
    assert page.count("&lt;script&gt;") == 3 + 3 + 2 + 2 + 4 + 2
    assert sum(text == evil for text in _Page(page).text) == 3 + 3 + 2 + 1 + 4 + 2


@pytest.mark.parametrize(
    "value, error, expected",
    [
        (98.4321, 0.5712, "98.43"),
        (98.4321, 12.0, "98"),
        (0.181134, 0.00105, "0.1811"),
        (-3.21987, 0.0299, "-3.220"),
        (5.0, 0.0, "5.000"),
        (44, None, "44"),
        (12345, None, "12,345"),
        (12.3456, None, "12.35"),
        (123456.7, None, "123,457"),
        (0.01234, None, "0.01234"),
        (0.00123456, None, "0.001235"),
        (0.000123456, None, "0.0001235"),
        (0.0000123456, None, "1.235e-05"),
        (2.5e7, None, "2.500e+07"),
        (0.0, None, "0.0000"),
        (math.nan, None, "nan"),
        (98.4, math.nan, "98.40"),
    ],
)
def test_numbers_read_to_the_digits_they_have(value, error, expected):
    assert format_value(value, error) == expected


def test_refuses_a_picture_that_is_no_png():
    with pytest.raises(ValueError, match="not a PNG"):
        png_size(b"\xff\xd8\xff\xe0 a JPEG file's first bytes")
