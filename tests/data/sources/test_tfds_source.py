"""TFDS without TensorFlow: a set prepared here, read back; and what can be wrong."""

import json
import shutil
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from lsgm.config import build
from lsgm.data.errors import DataError
from lsgm.data.sources.tfds_source import TFDS, require_own_features

COLOURS = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3)).astype(np.uint8)


def prepare(folder):
    """A small ``cifar10`` of 8x8: splits train (9) and test (3)."""
    with tfds.core.registered.skip_registration():

        class Cifar10(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("3.0.2")

            def _info(self):
                features = dict(
                    image=tfds.features.Image(shape=(8, 8, 3)),
                    label=tfds.features.ClassLabel(num_classes=10),
                )
                return tfds.core.DatasetInfo(
                    builder=self, features=tfds.features.FeaturesDict(features)
                )

            def _split_generators(self, dl_manager):
                return dict(
                    train=self._generate_examples(0, 9),
                    test=self._generate_examples(9, 12),
                )

            def _generate_examples(self, start, stop):
                for i in range(start, stop):
                    yield i, dict(image=Image.fromarray(COLOURS[i]), label=i % 10)

    builder = Cifar10(data_dir=folder, file_format="array_record")
    builder.download_and_prepare()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tfds")
    prepare(path)
    return path


@pytest.fixture
def broken(folder, tmp_path):
    """A copy that a test may damage."""
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


def source(folder, dataset="cifar10", **fields):
    return TFDS(dataset=dataset, data_dir=str(folder), **fields)


def fails(call, key, *words):
    with pytest.raises(DataError) as error:
        call()
    assert error.value.argument == key
    for word in words:
        assert str(word) in str(error.value)


def test_round_trip_is_lossless(folder):
    """TFDS keeps its own order; the images come back byte for byte."""
    for split, expected in dict(train=COLOURS[:9], test=COLOURS[9:]).items():
        examples = source(folder).open(split)
        images = np.stack([examples[i]["image"] for i in range(len(examples))])
        assert images.dtype == np.uint8 and examples.shape(0) == (8, 8, 3)
        for image, example in zip(
            images, (examples[i] for i in range(9)), strict=False
        ):
            (i,) = np.flatnonzero(np.all(COLOURS == image, axis=(1, 2, 3)))
            assert example["label"] == i % 10
        flat, wanted = (
            np.unique(a.reshape(len(a), -1), axis=0) for a in (images, expected)
        )
        np.testing.assert_array_equal(flat, wanted)


def test_no_tensorflow(folder):
    source(folder).open("train")[0]
    assert "tensorflow" not in sys.modules


def test_through_the_pipeline(folder):
    spec = dict(
        target="lsgm.data.images:Images",
        source=dict(
            target="lsgm.data.sources.tfds_source:TFDS",
            dataset="cifar10",
            data_dir=str(folder),
            train="train[:6]",
            validation="train[6:]",
        ),
        image_shape=(8, 8, 3),
        num_bits=5,
        flip=True,
    )
    data = build(spec, "data")
    sizes = [data.num_examples(s) for s in ("train", "validation", "test")]
    assert sizes == [6, 3, 3]
    batch = data.train_batches(0, 4).batch(3)
    assert batch["levels"].max() <= 31 and batch["label"].shape == (4,)
    held_out = data.eval_batches("validation", 3).batch(0)
    seen = data.eval_batches("train", 6).batch(0)
    assert not set(held_out["label"].tolist()) & set(seen["label"].tolist())


def test_threads_read_one_file_alike(folder):
    spec = dict(image_shape=(8, 8, 3), cache_bytes=0, read_threads=8)
    target = dict(target="lsgm.data.sources.tfds_source:TFDS", dataset="cifar10")
    data = build(
        dict(
            target="lsgm.data.images:Images", source=target | {"data_dir": str(folder)}
        )
        | spec,
        "data",
    )
    batches = data.train_batches(0, 3)
    iterator = iter(batches)
    for k in range(12):
        np.testing.assert_array_equal(
            next(iterator)["levels"], batches.batch(k)["levels"]
        )
    iterator.close()


def test_an_unprepared_set_says_how(folder):
    fails(
        lambda: source(folder, "fashion_mnist").open("train"),
        "dataset",
        "fashion_mnist",
        folder,
        "experiments.prepare_data",
        "tfds build fashion_mnist --file_format=array_record",
    )


def test_wrong_folder(tmp_path):
    wrong = tmp_path / "nowhere"
    fails(
        lambda: source(wrong).open("train"),
        "data_dir",
        wrong,
        "tfds build cifar10",
    )


def test_default_folder_is_expanded():
    with pytest.raises(DataError, match="surely_not_prepared") as error:
        TFDS(dataset="surely_not_prepared").open("train")
    assert "~" not in str(error.value)


def test_missing_splits_name_those_that_exist(folder):
    fails(lambda: source(folder).open("validation"), "split", "test, train")
    fails(
        lambda: source(folder, validation="valid").open("validation"),
        "validation",
        "train, test",
    )
    fails(
        lambda: source(folder, train="train[0:x]").open("train"),
        "train",
        "train[0:x]",
    )


def test_damaged_files(broken):
    for file in broken.rglob("*train.array_record*"):
        file.write_bytes(b"no record")
    fails(lambda: source(broken).open("train"), "train", broken)


def test_missing_files(broken):
    for file in broken.rglob("*train.array_record*"):
        file.unlink()
    fails(lambda: source(broken).open("train"), "train", broken)


def test_other_file_format(broken):
    for info in broken.rglob("dataset_info.json"):
        info.write_text(info.read_text().replace("array_record", "tfrecord"))
    fails(lambda: source(broken).open("train"), "dataset", "not array_record")


def test_without_images(broken):
    for file in broken.rglob("features.json"):
        renamed = file.read_text().replace('"image": {', '"picture": {', 1)
        file.write_text(renamed)
    fails(lambda: source(broken).open("train"), "dataset", "picture")


@pytest.mark.parametrize(
    "features",
    [
        {"pythonClassName": "foreign_features.Thing"},
        {"type": "foreign_features.Thing", "content": {}},
        {"a": [{"b": {"python_class_name": "foreign_features.Thing"}}]},
        {"json": json.dumps({"x": {"type": "foreign_features.Thing"}})},
        {"type": "tensorflow_datasets_too.Thing"},
    ],
)
def test_a_prepared_set_imports_no_other_package(tmp_path, features):
    """TFDS imports whatever class the features of a set are of."""
    (tmp_path / "features.json").write_text(json.dumps(features))
    with pytest.raises(DataError, match=r"its features name \w+\.Thing"):
        require_own_features(tmp_path)


def test_a_set_with_foreign_features_is_not_opened(broken, tmp_path, monkeypatch):
    (stored,) = broken.rglob("features.json")
    words = json.loads(stored.read_text())
    words["pythonClassName"] = "foreign_features.Thing"
    stored.write_text(json.dumps(words))
    (tmp_path / "foreign_features.py").write_text("raise SystemExit('run')")
    monkeypatch.syspath_prepend(tmp_path)
    opening = source(broken).open
    fails(lambda: opening("train"), "dataset", "features name foreign_features.Thing")


def test_an_image_of_too_many_pixels_is_not_decoded(folder):
    examples = source(folder, max_pixels=63).open("train")
    fails(lambda: examples[0], "root", "8 x 8 pixels", "max_pixels = 63")


def test_images_of_other_numbers_are_refused(broken):
    for file in broken.rglob("features.json"):
        file.write_text(file.read_text().replace('"uint8"', '"uint16"'))
    fails(lambda: source(broken).open("train"), "dataset", "uint16, not uint8")
