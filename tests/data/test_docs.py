"""The source that ``docs/data.md`` shows how to write works as it stands."""

import dataclasses
import re
from pathlib import Path
from typing import ClassVar

import numpy as np

from lsgm.data.images import Images
from lsgm.data.sources.arrays import ArrayExamples
from lsgm.data.sources.base import Source, require_split

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_own_source():
    (code,) = [block for block in BLOCKS if "class Checkers" in block]
    scope = dict(
        dataclasses=dataclasses,
        np=np,
        ClassVar=ClassVar,
        ArrayExamples=ArrayExamples,
        require_split=require_split,
    )
    exec(code, scope)
    source = scope["Checkers"](size=4)
    assert isinstance(source, Source)
    data = Images(source=source, image_shape=(4, 4, 1), num_bits=1)
    tile = data.example("train", 0)["levels"][..., 0]
    np.testing.assert_array_equal(tile, np.indices((4, 4)).sum(0) % 2)


def test_every_field_is_described():
    for field in dataclasses.fields(Images):
        assert f"`{field.name}`" in PAGE.read_text()


def test_every_example_of_a_source_names_one():
    from lsgm.config import check

    specs = [eval(f"dict({block})") for block in BLOCKS if block.startswith("source=")]
    assert len(specs) == 10
    for spec in specs:
        assert isinstance(check(spec["source"], "data.source"), type)


def test_published_omniglot_split(tmp_path, monkeypatch):
    """The page's program, on a file laid out like theirs: pixels by column."""
    from scipy.io import savemat

    from lsgm.data.sources.tfds_source import TFDS

    image = np.zeros((28, 28))
    image[3, 20], image[25, 1] = 1.0, 0.5
    column = image.T.reshape(-1, 1)
    monkeypatch.chdir(tmp_path)
    savemat("chardata.mat", {"data": np.tile(column, 2), "testdata": 0 * column})
    (code,) = [block for block in BLOCKS if "chardata.mat" in block]
    exec(code.replace("~/tensorflow_datasets", str(tmp_path)), {})
    source = TFDS(dataset="omniglot28", data_dir=str(tmp_path), validation="train+test")
    examples = source.open("validation")
    assert len(examples) == 3
    expected = (255 * image).astype(np.uint8)
    np.testing.assert_array_equal(examples[1]["image"][..., 0], expected)
    assert not examples[2]["image"].any()
