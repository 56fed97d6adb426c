"""Image folders: what is read, in which order, and every way it can be wrong."""

import numpy as np
import pytest
from PIL import Image

from lsgm.config import ConfigError, build
from lsgm.data.errors import DataError
from lsgm.data.fit import Fit, centre
from lsgm.data.sources.image_folder import ImageFolder


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def root(tmp_path):
    """Two classes of 6x8 RGB images; the value of an image is its number."""
    for i, name in enumerate(["b/0", "a/1", "a/0"]):
        save(tmp_path / "train" / f"{name}.png", np.full((6, 8, 3), i, np.uint8))
    save(tmp_path / "test" / "b" / "0.png", np.full((6, 8, 3), 9, np.uint8))
    return tmp_path


def data(root, image_shape=(6, 8, 3), labels=False, **fields):
    source = dict(
        target="lsgm.data.sources.image_folder:ImageFolder",
        root=str(root),
        labels=labels,
    )
    spec = dict(target="lsgm.data.images:Images", source=source)
    return build(spec | dict(image_shape=image_shape) | fields, "data")


def fails(call, key, *words):
    with pytest.raises(DataError) as error:
        call()
    assert error.value.argument == key
    for word in words:
        assert str(word) in str(error.value)


def test_files_in_the_order_of_their_paths_with_classes(root):
    examples = ImageFolder(root=str(root), labels=True).open("train")
    assert [e["image"][0, 0, 0] for e in examples] == [2, 1, 0]
    assert [int(e["label"]) for e in examples] == [0, 0, 1]
    # The same number for the same class where another class is missing.
    assert ImageFolder(root=str(root), labels=True).open("test")[0]["label"] == 1


def test_through_the_pipeline(root):
    batch = data(root, labels=True).train_batches(0, 3).batch(4)
    assert batch["levels"].shape == (3, 6, 8, 3)
    np.testing.assert_array_equal(
        batch["label"], np.where(batch["levels"][:, 0, 0, 0] == 0, 1, 0)
    )
    assert "label" not in data(root).example("test", 0)


def test_streaming_reads_the_same(root):
    """With a cache too small, and the split checked by headers alone."""
    streamed = data(root, cache_bytes=0)
    kept = data(root)
    for k in range(3):
        np.testing.assert_array_equal(
            streamed.train_batches(1, 2).batch(k)["levels"],
            kept.train_batches(1, 2).batch(k)["levels"],
        )
    assert not streamed.open("train").cached and kept.open("train").cached


def test_hidden_and_other_files_are_left_alone(root):
    (root / "train" / "a" / "._0.png").write_bytes(b"leaving of a file manager")
    (root / "train" / "notes.txt").write_text("no image")
    (root / "train" / ".cache").mkdir()
    save(root / "train" / ".cache" / "x.png", np.zeros((6, 8, 3), np.uint8))
    assert data(root).num_examples("train") == 3
    assert ImageFolder(root=str(root)).classes() == ("a", "b")


@pytest.mark.parametrize("suffix", ["png", "PNG", "webp", "jpg", "jpeg"])
def test_formats(tmp_path, suffix):
    pixels = np.full((6, 8, 3), 77, np.uint8)
    lossless = {} if "jp" in suffix else dict(lossless=True)
    save(tmp_path / "train" / f"x.{suffix}", pixels, **lossless)
    read = data(tmp_path).example("train", 0)["levels"]
    np.testing.assert_allclose(read.astype(int), 77, atol=1 if "jp" in suffix else 0)


@pytest.mark.parametrize(
    "mode, channels, value",
    [("1", 1, 255), ("L", 1, 200), ("LA", 1, 255), ("RGBA", 3, 255), ("P", 3, 200)],
)
def test_modes(tmp_path, mode, channels, value):
    """Grey stays one channel; what is transparent becomes white."""
    image = Image.fromarray(np.full((2, 2), 200, np.uint8)).convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(0)
    (tmp_path / "train").mkdir()
    image.save(tmp_path / "train" / "x.png")
    examples = ImageFolder(root=str(tmp_path)).open("train")
    np.testing.assert_array_equal(
        examples[0]["image"], np.full((2, 2, channels), value, np.uint8)
    )
    assert examples.shape(0) == (2, 2, channels)


def test_orientation_is_obeyed(tmp_path):
    """EXIF 6: the camera lay on its side; header and pixels agree."""
    pixels = np.zeros((4, 6, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "train" / "x.png", pixels, exif=exif)
    examples = ImageFolder(root=str(tmp_path)).open("train")
    assert examples.shape(0) == examples[0]["image"].shape == (6, 4, 3)


def test_wrong_root(tmp_path):
    wrong = tmp_path / "nowhere"
    fails(lambda: data(wrong).open("train"), "root", wrong, "no such")


def test_root_without_splits(tmp_path):
    save(tmp_path / "x.png", np.zeros((2, 2), np.uint8))
    fails(
        lambda: data(tmp_path).open("train"),
        "root",
        tmp_path,
        "train, validation, test",
    )


def test_empty_split(root):
    (root / "validation").mkdir()
    fails(
        lambda: data(root).open("validation"),
        "root",
        root / "validation",
        ".png",
    )


def test_missing_split(root):
    fails(
        lambda: data(root).open("validation"),
        "split",
        root,
        "'validation'",
        "test, train",
    )


def test_file_outside_a_class(root):
    save(root / "train" / "x.png", np.zeros((6, 8, 3), np.uint8))
    fails(
        lambda: data(root, labels=True).open("train"),
        "labels",
        root / "train" / "x.png",
    )


@pytest.mark.parametrize("cache_bytes", [0, 2**20])
@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n broken"])
def test_unreadable_file(root, content, cache_bytes):
    """Found when the split is opened, streamed or not: it is not the first file."""
    bad = root / "train" / "b" / "1.png"
    bad.write_bytes(content)
    fails(
        lambda: data(root, cache_bytes=cache_bytes).num_examples("train"),
        "root",
        bad,
        "unreadable",
    )


def test_truncated_file(root):
    bad = root / "train" / "b" / "1.png"
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    save(bad, noise)
    bad.write_bytes(bad.read_bytes()[:100])
    fails(lambda: data(root).open("train"), "root", bad, "unreadable")


def test_deep_pixels_are_refused(tmp_path):
    save(tmp_path / "train" / "x.png", np.full((6, 8), 1000, np.uint16))
    fails(
        lambda: data(tmp_path, (6, 8, 1)).open("train"),
        "root",
        "x.png",
        "8 bits",
    )


@pytest.mark.parametrize("cache_bytes", [0, 2**20])
def test_wrong_size_names_the_file(root, cache_bytes):
    bad = root / "train" / "b" / "1.png"
    save(bad, np.zeros((7, 8, 3), np.uint8))
    fails(
        lambda: data(root, cache_bytes=cache_bytes).open("train"),
        "image_shape",
        bad,
        "7x8x3",
        "resize = ",
    )


def test_colour_is_not_made_grey_unasked(root):
    fails(
        lambda: data(root, (6, 8, 1)).open("train"),
        "image_shape",
        root / "train" / "a" / "0.png",
        "grey = True",
    )


def test_grey_is_pillows_grey():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    fit = Fit(image_shape=(16, 16, 1), grey=True, resize="none")
    expected = np.asarray(Image.fromarray(pixels).convert("L"))
    np.testing.assert_array_equal(fit(pixels, "x")[..., 0], expected)


def test_one_channel_becomes_three():
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4, 1)
    out = Fit(image_shape=(4, 4, 3), grey=False, resize="none")(pixels, "x")
    np.testing.assert_array_equal(out, np.broadcast_to(pixels, (4, 4, 3)))


def test_resize_crops_the_centre():
    """A box filter by 2 is the mean of 2x2; the left and right thirds are cut."""
    pixels = np.zeros((4, 12, 3), np.uint8)
    pixels[:, 4:8] = np.arange(16, dtype=np.uint8).reshape(4, 4, 1) * 4
    out = Fit(image_shape=(2, 2, 3), grey=False, resize="box")(pixels, "x")
    blocks = pixels[:, 4:8].reshape(2, 2, 2, 2, 3).astype(float).mean((1, 3))
    np.testing.assert_array_equal(out, blocks)


@pytest.mark.parametrize("h, w", [(1, 1), (3, 2), (2, 3), (256, 256)])
@pytest.mark.parametrize("height, width", [(218, 178), (5, 500), (64, 64), (1, 9)])
def test_crop_is_the_largest_of_its_aspect(height, width, h, w):
    top, left, crop_h, crop_w = centre(height, width, h, w)
    assert crop_h == height or crop_w == width
    assert abs(crop_h * w - crop_w * h) < max(h, w) or min(crop_h, crop_w) == 1
    assert abs(height - crop_h - 2 * top) <= 1 and top + crop_h <= height
    assert abs(width - crop_w - 2 * left) <= 1 and left + crop_w <= width


def test_resized_through_the_pipeline(root):
    shape = data(root, (4, 4, 1), grey=True, resize="lanczos").example("test", 0)
    np.testing.assert_array_equal(shape["levels"], np.full((4, 4, 1), 9))
    with pytest.raises(ConfigError, match="data.resize"):
        data(root, resize="nearest")
