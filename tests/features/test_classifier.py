"""The shipped extractor is the one that its provenance describes, and it sees."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from lsgm.config import ConfigError, build
from lsgm.data.images import Images
from lsgm.data.sources.arrays import Npz
from lsgm.data.sources.mnist5k import MNIST5k
from lsgm.features import training, weights_file
from lsgm.features.classifier import ClassifierFeatures
from lsgm.features.training import Augmentation, Recipe, train_and_write
from lsgm.networks.classifier import ConvClassifier
from lsgm.statistics.frechet import frechet, moments

EXTRACTOR = ClassifierFeatures(batch_size=100)
DIGIT_CNN = EXTRACTOR.path


@pytest.fixture(scope="module")
def digits():
    return {
        split: MNIST5k().open(split).images.astype(np.float32) / 255
        for split in ("validation", "test")
    }


@pytest.fixture(scope="module")
def reference(digits):
    return moments([EXTRACTOR(digits["test"])])


@pytest.fixture
def copied(tmp_path):
    """The shipped weights and provenance, where a test may spoil them."""
    for suffix in (".npz", ".json"):
        shutil.copy(DIGIT_CNN.with_suffix(suffix), tmp_path / f"own{suffix}")
    return tmp_path / "own.npz"


def test_ships_small_and_says_how_it_came_about():
    assert DIGIT_CNN.stat().st_size < 2 * 2**20
    provenance = EXTRACTOR.provenance
    assert provenance["data"] == "mnist5k/train"
    assert provenance["num_train"] == 4000
    assert provenance["sha256"] == weights_file.sha256(DIGIT_CNN)
    assert provenance["recipe"] == json.loads(
        json.dumps(training.dataclasses.asdict(Recipe()))
    )


@pytest.mark.parametrize(
    "path", sorted(weights_file.FOLDER.glob("*.npz")), ids=lambda path: path.stem
)
def test_each_of_those_that_ship_is_small_and_the_one_recorded(path):
    assert path.stat().st_size < 2 * 2**20
    extractor = ClassifierFeatures(weights=path.name)
    provenance = extractor.provenance
    assert provenance["sha256"] == weights_file.sha256(path)
    # Held-out accuracy far above chance, and no path of the machine in the command.
    assert provenance["accuracy"]["test"] > 0.85
    assert provenance["command"].startswith("python -m experiments.train_features ")
    found = extractor(np.zeros((2, 28, 28, 1), np.float32))
    assert found.shape == (2, extractor.dim) and extractor.name.endswith("CNN")


def test_held_out_accuracy_is_as_reported():
    network = ConvClassifier(**EXTRACTOR.provenance["network"])
    params = weights_file.read(DIGIT_CNN)
    test = MNIST5k().open("test")
    found = training.accuracy(network, params, test.images, test.labels)
    assert found == pytest.approx(EXTRACTOR.provenance["accuracy"]["test"], abs=0.003)
    assert found > 0.96


def test_a_config_names_it():
    built = build({"target": "lsgm.features.classifier:ClassifierFeatures"})
    assert (built.name, built.dim) == ("digit CNN", 64)
    assert hash(built) == hash(ClassifierFeatures())
    target = {"target": "lsgm.features.classifier:ClassifierFeatures"}
    with pytest.raises(ConfigError, match="batch_size = 0"):
        build(target | {"batch_size": 0}, "evaluation.extractor")
    with pytest.raises(ConfigError, match="nowhere.npz: no such file"):
        build(target | {"weights": "nowhere.npz"}, "evaluation.extractor")


def test_features_do_not_depend_on_batches(digits):
    images = digits["test"][:230]
    found = EXTRACTOR(images)
    assert found.shape == (230, EXTRACTOR.dim)
    assert found.dtype == np.float32
    backwards = EXTRACTOR(images[::-1])[::-1]
    np.testing.assert_allclose(found, backwards, atol=1e-4)
    np.testing.assert_allclose(EXTRACTOR(jnp.asarray(images[:3])), found[:3], atol=1e-4)


def test_features_are_scaled_by_their_variance_on_training_images():
    images = MNIST5k().open("train").images[::4].astype(np.float32) / 255
    covariance = moments([EXTRACTOR(images)]).covariance
    assert np.trace(covariance) == pytest.approx(EXTRACTOR.dim, rel=0.05)


@pytest.mark.parametrize("sigmas", [(0.5, 1.0, 2.0)])
def test_distance_grows_with_blur(digits, reference, sigmas):
    levels = [digits["validation"]] + [
        scipy.ndimage.gaussian_filter(digits["validation"], (0, s, s, 0))
        for s in sigmas
    ]
    found = [frechet(moments([EXTRACTOR(x)]), reference) for x in levels]
    assert found == sorted(found)
    assert found[-1] > 10 * found[0]


def test_distance_sees_missing_digits_and_noise(digits, reference):
    labels = MNIST5k().open("validation").labels
    whole = frechet(moments([EXTRACTOR(digits["validation"])]), reference)
    half = moments([EXTRACTOR(digits["validation"][labels < 5])])
    noise = np.random.default_rng(0).random((100, 28, 28, 1)).astype(np.float32)
    assert frechet(half, reference) > 5 * whole
    assert frechet(moments([EXTRACTOR(noise)]), reference) > 20 * whole


@pytest.mark.parametrize(
    "images, message",
    [
        (np.zeros((1, 32, 32, 1), np.float32), r"\(32, 32, 1\); digit CNN takes"),
        (np.full((1, 28, 28, 1), 255.0, np.float32), r"not within \[0, 1\]"),
        (np.full((1, 28, 28, 1), np.nan, np.float32), r"not within \[0, 1\]"),
    ],
)
def test_refuses_images_it_does_not_know(images, message):
    with pytest.raises(ValueError, match=message):
        EXTRACTOR(images)


def test_refuses_other_weights_than_recorded(copied):
    recorded = weights_file.sha256(copied)
    data = bytearray(copied.read_bytes())
    data[len(data) // 2] ^= 1
    copied.write_bytes(data)
    spoilt = ClassifierFeatures(weights=str(copied))
    with pytest.raises(weights_file.WeightsError) as error:
        spoilt(np.zeros((1, 28, 28, 1), np.float32))
    for part in (str(copied), recorded, weights_file.sha256(copied)):
        assert part in str(error.value)


def test_refuses_weights_without_provenance(copied):
    copied.with_suffix(".json").unlink()
    with pytest.raises(ValueError, match=r"own.json: no such file"):
        ClassifierFeatures(weights=str(copied))


def test_weights_read_as_they_were_rounded(tmp_path):
    params = {"a": {"kernel": np.float32([[1 / 3, 2.0]])}, "b": np.float32([1e-3])}
    written = weights_file.write(tmp_path / "w.npz", params, {"name": "own"})
    read = weights_file.read(tmp_path / "w.npz")
    jax.tree.map(np.testing.assert_array_equal, read, weights_file.rounded(params))
    np.testing.assert_allclose(read["a"]["kernel"], params["a"]["kernel"], rtol=1e-3)
    assert weights_file.read_provenance(tmp_path / "w.npz") == written


def _block(h=28, w=28):
    x = np.zeros((h, w, 1), np.float32)
    x[10:18, 8:16] = 1
    return x


def _augmented(x, num=60, **ranges):
    """``num`` views in [0, 1] of an image in {0, 1}, with the given ranges only."""
    still = dict(degrees=0.0, scale=0.0, shift=0.0, binarized=0.0)
    augmentation = Augmentation(**(still | ranges))
    images = (255 * x).astype(np.uint8)[None].repeat(num, 0)
    return augmentation(np.random.default_rng(0), images)


def _centres(x):
    grid = np.indices((28, 28))
    return np.einsum("dhw,bhwc->bd", grid, x) / x.sum((1, 2, 3))[:, None]


def test_augmentation_without_ranges_is_the_identity():
    found = _augmented(_block(), num=3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, _block()[None].repeat(3, 0), atol=1e-6)


def test_augmentation_shifts_within_its_range():
    moved = _centres(_augmented(_block(), shift=2.0)) - _centres(_block()[None])
    assert np.abs(moved).max() <= 2 + 1e-3
    assert moved.std(axis=0).min() > 0.7


def test_augmentation_scales_areas_within_its_range():
    areas = _augmented(_block(), scale=0.1).sum((1, 2, 3)) / _block().sum()
    assert 1 / 1.1**2 - 0.03 < areas.min() < 0.9
    assert 1.1 < areas.max() < 1 / 0.9**2 + 0.03


def test_augmentation_turns_within_its_range():
    """The slope of a bar through the centre, from its second moments."""
    bar = np.zeros((28, 28, 1), np.float32)
    bar[13:15, 4:24] = 1
    mass = _augmented(bar, degrees=12.0)[..., 0]
    y, x = np.indices((28, 28)) - 13.5
    slope = (mass * x * y).sum((1, 2)) / (mass * x * x).sum((1, 2))
    degrees = np.degrees(np.arctan(slope))
    assert 9 < np.abs(degrees).max() < 12.3
    assert degrees.min() < -5 and degrees.max() > 5


def test_augmentation_binarizes_a_share():
    found = _augmented(np.full((4, 4, 1), 0.5), num=400, binarized=0.25)
    binary = np.isin(found, (0, 1)).all((1, 2, 3))
    assert 0.15 < binary.mean() < 0.35
    assert 0.4 < found[binary].mean() < 0.6


def test_training_writes_features_of_unit_variance(tmp_path, capsys):
    """On digits told apart by where they are bright, a short recipe learns."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    images = rng.integers(0, 60, (200, 8, 8, 1)).astype(np.uint8)
    images[labels == 1, :4] += 150
    np.savez(tmp_path / "own.npz", x=images, y=labels.astype(np.uint8))
    data = _data(tmp_path / "own.npz")
    recipe = Recipe(num_features=4, width=4, num_epochs=6, batch_size=20)
    path = tmp_path / "weights" / "own.npz"
    found = train_and_write(recipe, data, "own CNN", path, "the command")
    assert found["accuracy"]["test"] > 0.95 and found["command"] == "the command"
    assert "epoch 6/6" in capsys.readouterr().out
    extractor = ClassifierFeatures(weights=str(path), batch_size=50)
    assert (extractor.name, extractor.dim) == ("own CNN", 4)
    variance = extractor(images.astype(np.float32) / 255).var(axis=0).mean()
    assert variance == pytest.approx(1, rel=1e-3)


def test_a_classifier_needs_labels(tmp_path):
    np.savez(tmp_path / "own.npz", x=np.zeros((4, 8, 8, 1), np.uint8))
    with pytest.raises(ConfigError, match=r"data.source.*has no labels"):
        train_and_write(
            Recipe(), _data(tmp_path / "own.npz"), "own", tmp_path / "w.npz", ""
        )


def test_a_classifier_needs_a_full_batch(tmp_path):
    y = np.arange(4, dtype=np.uint8)
    np.savez(tmp_path / "own.npz", x=np.zeros((4, 8, 8, 1), np.uint8), y=y)
    with pytest.raises(ConfigError, match="data.source = '4 images': give at least 10"):
        train_and_write(
            Recipe(batch_size=10),
            _data(tmp_path / "own.npz"),
            "own",
            tmp_path / "w.npz",
            "",
        )


def _data(path):
    """The same file as train and as test split."""
    source = Npz(train=str(path), validation="", test=str(path))
    return Images(source=source, image_shape=(8, 8, 1), num_bits=8)
