"""Zip, Parquet, TFRecord, LMDB and CIFAR files: each gives back what was put in."""

import dataclasses
import io
import pickle
import struct
import sys
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from jaxtyping import TypeCheckError
from PIL import Image

from lsgm.data.errors import DataError
from lsgm.data.images import Images
from lsgm.data.sources import image_file, lmdb_source, parquet
from lsgm.data.sources.cifar import CIFAR10
from lsgm.data.sources.image_folder import ImageFolder
from lsgm.data.sources.image_zip import ImageZip
from lsgm.data.sources.layout import split_words, without_common_folder
from lsgm.data.sources.lmdb_source import LMDB
from lsgm.data.sources.parquet import Parquet
from lsgm.data.sources.tf_example import Example
from lsgm.data.sources.tfrecord import TFRecord, image_of, masked

X = np.random.default_rng(0).integers(0, 256, (7, 256, 256, 3)).astype(np.uint8)
Y = np.array([1, 0, 2, 1, 0, 2, 1])
PARTS = {"train": range(5), "test": range(5, 7)}


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=1)
    return file.getvalue()


PNG = [png(image) for image in X]


def example(**features):
    """A serialised tf.train.Example."""
    message = Example()
    for name, value in features.items():
        feature = message.features.feature[name.replace("__", "/")]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        else:
            feature.int64_list.value.extend(np.atleast_1d(value).tolist())
    return message.SerializeToString()


def tfrecord(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for data in records:
            length = struct.pack("<Q", len(data))
            file.write(length + struct.pack("<I", masked(length, "new")))
            file.write(data + struct.pack("<I", masked(data, "new")))


def write_zip(root):
    with zipfile.ZipFile(root / "faces.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("__MACOSX/faces/._a.png", b"leaving")
        for split, part in PARTS.items():
            for i in part:
                file.writestr(f"faces/{split}/{Y[i]}/{i}.png", PNG[i])
    return ImageZip(root=str(root / "faces.zip"), labels=True)


def write_zips(root):
    """One zip a split."""
    for split, part in PARTS.items():
        with zipfile.ZipFile(root / f"{split}.zip", "w") as file:
            for i in part:
                file.writestr(f"{Y[i]}/{i}.png", PNG[i])
    return ImageZip(root=str(root), labels=True)


def write_parquet(root):
    """Two files of the training split, in row groups of two."""
    (root / "data").mkdir()
    for name, part in [
        ("train-00000-of-00002", range(3)),
        ("train-00001-of-00002", range(3, 5)),
        ("test-00000-of-00001", range(5, 7)),
    ]:
        images = [{"bytes": PNG[i], "path": f"{i}.png"} for i in part]
        table = pa.table({"image": images, "label": Y[list(part)]})
        pq.write_table(table, root / "data" / f"{name}.parquet", row_group_size=2)
    return Parquet(root=str(root), labels=True)


def write_binary_parquet(root):
    """Plain bytes in a column of another name."""
    for split, part in PARTS.items():
        table = pa.table({"img": [PNG[i] for i in part], "label": Y[list(part)]})
        pq.write_table(table, root / f"{split}.parquet")
    return Parquet(root=str(root), labels=True)


def write_encoded_tfrecord(root):
    names = {"image__encoded": PNG, "image__class__label": Y}
    for split, part in PARTS.items():
        records = [example(**{k: v[i] for k, v in names.items()}) for i in part]
        tfrecord(root / f"faces-{split}.tfrecord-00000-of-00001", records)
    return TFRecord(root=str(root), labels=True)


def write_raw_tfrecord(root):
    """As Glow's: several files in a folder of the split; test channels first."""
    for split, name, part in [
        ("train", "train-r08-s-0000-of-0002", range(3)),
        ("train", "train-r08-s-0001-of-0002", range(3, 5)),
    ]:
        records = [
            example(data=X[i].tobytes(), shape=X[i].shape, label=Y[i]) for i in part
        ]
        tfrecord(root / split / f"{name}.tfrecords", records)
    swapped = np.moveaxis(X[5:], 3, 1)
    records = [
        example(data=image.tobytes(), shape=image.shape, label=label)
        for image, label in zip(swapped, Y[5:], strict=True)
    ]
    tfrecord(root / "test" / "test-r08.tfrecords", records)
    return TFRecord(root=str(root), labels=True)


def write_folder(root):
    for split, part in PARTS.items():
        for i in part:
            path = root / split / str(Y[i]) / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(PNG[i])
    return ImageFolder(root=str(root), labels=True)


WRITERS = [
    write_folder,
    write_zip,
    write_zips,
    write_parquet,
    write_binary_parquet,
    write_encoded_tfrecord,
    write_raw_tfrecord,
]


@pytest.mark.parametrize("write", WRITERS)
def test_round_trip_through_the_pipeline(write, tmp_path):
    """At 256x256, also pickled, as worker processes receive it."""
    source = write(tmp_path)
    assert source.splits() == ("train", "test")
    data = Images(source=source, image_shape=(256, 256, 3))
    for split, part in PARTS.items():
        batch = data.eval_batches(split, len(part)).batch(0)
        # Folders of classes come in the order of their names.
        sort = isinstance(source, ImageFolder | ImageZip)
        order = sorted(part, key=lambda i: Y[i]) if sort else list(part)
        np.testing.assert_array_equal(batch["levels"], X[order])
        np.testing.assert_array_equal(batch["label"], Y[order])
        copy = pickle.loads(pickle.dumps(source.open(split)))
        np.testing.assert_array_equal(copy[1]["image"], X[order[1]])
        assert copy.shape(1) == (256, 256, 3) and str(tmp_path) in copy.name(1)


@pytest.mark.parametrize("write", WRITERS)
def test_flat_takes_everything_as_train(write, tmp_path):
    source = write(tmp_path)
    flat = dataclasses.replace(source, flat=True, labels=False)
    assert flat.splits() == ("train",) and len(flat.open("train")) == 7


def test_lmdb(tmp_path):
    """Encoded and raw entries; whole numbers in their order."""
    lmdb = pytest.importorskip("lmdb")
    small = X[:, :16, :16]
    for split, values in {
        "train": [png(image) for image in small],
        "validation": [image.tobytes() for image in small],
    }.items():
        folder = split == "train"
        path = str(tmp_path / f"{split}.lmdb")
        with lmdb.open(path, map_size=2**24, subdir=folder) as base:
            with base.begin(write=True) as transaction:
                for key in (0, 1, 10, 2, 11, 3, 4):
                    value = values[(0, 1, 2, 3, 4, 10, 11).index(key)]
                    transaction.put(str(key).encode(), value)
    source = LMDB(root=str(tmp_path))
    assert source.splits() == ("train", "validation")
    data = Images(source=source, image_shape=(16, 16, 3))
    for split in source.splits():
        batch = data.eval_batches(split, 7).batch(0)
        np.testing.assert_array_equal(batch["levels"], small)
    alone = LMDB(root=str(tmp_path / "train.lmdb"), flat=True)
    assert len(alone.open("train")) == 7
    assert alone.open("train").name(6).endswith("train.lmdb/11")


def test_raw_pixels_that_begin_like_a_file(tmp_path):
    """One value of many; and files whose length is that of pixels are files."""
    lmdb = pytest.importorskip("lmdb")
    small = X[:, :16, :16].copy()
    small[2, 0, 0] = 0xFF, 0xD8, 0xFF
    small[3].reshape(-1)[:8] = list(b"\x89PNG\r\n\x1a\n")
    files = [file + bytes(-len(file) % 768) for file in map(png, small)]
    assert len({len(file) for file in files}) == 1
    for name, values in {"train": small, "test": files}.items():
        path = str(tmp_path / f"{name}.lmdb")
        with lmdb.open(path, map_size=2**24, subdir=False) as base:
            with base.begin(write=True) as transaction:
                for i, value in enumerate(values):
                    raw = value.tobytes() if name == "train" else value
                    transaction.put(str(i).encode(), raw)
    for split in ("train", "test"):
        examples = LMDB(root=str(tmp_path)).open(split)
        found = [examples[i]["image"] for i in range(7)]
        np.testing.assert_array_equal(found, small)


@pytest.mark.parametrize(
    "shape, expected",
    [((5, 7, 3), None), ((3, 5, 7), 0), ((1, 3, 3), 0), ((3, 3, 1), None)],
)
def test_axes_of_raw_records(shape, expected):
    image = X.reshape(-1)[: np.prod(shape)].reshape(shape)
    found = image_of({"data": [image.tobytes()], "shape": list(shape)})
    last = image if expected is None else np.moveaxis(image, expected, 2)
    np.testing.assert_array_equal(found, last)


@pytest.mark.parametrize(
    "features, words",
    [
        ({"data": [bytes(64)], "shape": [4, 4, 4]}, "neither"),
        ({"data": [bytes(48)], "shape": [-1, 4, 3]}, "neither"),
        ({"image": [7]}, "holds numbers"),
        ({"data": [bytes(64)], "shape": [4, 4, 3]}, "cannot reshape"),
    ],
)
def test_odd_records(features, words):
    with pytest.raises(ValueError, match=words):
        image_of(features)


@pytest.mark.parametrize("label", [2**40, -1, [0, 1], b"cat"])
def test_odd_labels_of_records(tmp_path, label):
    path = tmp_path / "train.tfrecord"
    tfrecord(path, [example(image=PNG[0], label=label)])
    source = TFRecord(root=str(path), labels=True)
    fails(source, f"{path}[0] has no readable label", "is no class number")


def test_lmdb_missing_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    lmdb_source.opened.cache_clear()
    (tmp_path / "train.lmdb").write_bytes(b"")
    with pytest.raises(DataError, match=r"pip install '\.\[lmdb\]'"):
        LMDB(root=str(tmp_path)).open("train")


def test_odd_lmdb_values_are_named():
    entries = lmdb_source.LMDBExamples(entries=(("a.lmdb", b"7"),))
    with pytest.raises(DataError, match=r"a\.lmdb/7.*10 bytes"):
        entries._raw(b"0123456789", 0)


def test_cifar10(tmp_path):
    """Six files of records, channels first."""
    images = np.random.default_rng(1).integers(0, 256, (6, 2, 3, 32, 32))
    images = images.astype(np.uint8)
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    for k, name in enumerate(names):
        rows = [np.append([k], image.reshape(-1)) for image in images[k]]
        (tmp_path / name).write_bytes(np.array(rows, np.uint8).tobytes())
    data = Images(source=CIFAR10(root=str(tmp_path)), image_shape=(32, 32, 3))
    train = data.eval_batches("train", 10).batch(0)
    expected = np.moveaxis(images[:5].reshape(10, 3, 32, 32), 1, 3)
    np.testing.assert_array_equal(train["levels"], expected)
    np.testing.assert_array_equal(train["label"], np.repeat(np.arange(5), 2))
    assert data.example("test", 1)["label"] == 5
    (tmp_path / "test_batch.bin").write_bytes(b"short")
    with pytest.raises(DataError, match="records of 3073"):
        CIFAR10(root=str(tmp_path)).open("test")
    with pytest.raises(DataError, match="no data_batch_1.bin"):
        CIFAR10(root=str(tmp_path / "gone")).open("train")


def fails(source, *words, split="train"):
    with pytest.raises(DataError) as error:
        examples = source.open(split)
        for i in range(len(examples)):
            examples[i]
    for word in words:
        assert str(word) in str(error.value)


def test_damaged_zip(tmp_path):
    path = tmp_path / "faces.zip"
    path.write_bytes(b"no zip")
    fails(ImageZip(root=str(path)), path, "unreadable zip")
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as file:
        file.writestr("train/a.png", PNG[0])
        file.writestr("train/b.png", PNG[1])
    raw = bytearray(other.read_bytes())
    raw[len(PNG[0]) // 2] ^= 1
    other.write_bytes(bytes(raw))
    fails(ImageZip(root=str(other)), f"{other}/train/a.png", "CRC")


def test_a_bit_flipped_in_a_tfrecord_is_seen(tmp_path):
    path = tmp_path / "train.tfrecord"
    tfrecord(path, [example(image=PNG[0]), example(image=PNG[1])])
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 4] ^= 1
    path.write_bytes(bytes(raw))
    fails(TFRecord(root=str(path)), f"{path}[0]", "checksum")
    path.write_bytes(bytes(raw[:-3]))
    fails(TFRecord(root=str(path)), path, "cut short, or compressed")
    tfrecord(path, [example(picture=PNG[0])])
    fails(TFRecord(root=str(path)), "found picture")
    tfrecord(path, [b"\xff\xff"])
    fails(TFRecord(root=str(path)), f"{path}[0]", "unreadable")
    path.write_bytes(b"")
    fails(TFRecord(root=str(path)), "no record")


def test_damaged_parquet(tmp_path):
    path = tmp_path / "train-0.parquet"
    path.write_bytes(b"PAR1 no more")
    fails(Parquet(root=str(tmp_path)), path, "unreadable Parquet")
    pq.write_table(pa.table({"picture": [b""]}), path)
    fails(Parquet(root=str(tmp_path)), path, "but picture")
    pq.write_table(pa.table({"image": [b"x"]}), path)
    fails(Parquet(root=str(tmp_path), labels=True), path, "no column 'label'")
    fails(Parquet(root=str(tmp_path)), path, "row 0", "unreadable image")
    parquet.row_group.cache_clear()
    images = [{"bytes": None, "path": None}, {"bytes": b"", "path": "a"}]
    pq.write_table(pa.table({"image": images}), path)
    fails(Parquet(root=str(tmp_path)), path, "holds no bytes")


@pytest.mark.parametrize("struct", [False, True])
def test_paths_in_parquet_are_not_followed(tmp_path, struct):
    """Unless the user names a folder, and then only inside it."""
    inside, outside = tmp_path / "images" / "1.png", tmp_path / "secret.png"
    inside.parent.mkdir()
    inside.write_bytes(PNG[1])
    outside.write_bytes(PNG[2])
    (tmp_path / "images" / "link.png").symlink_to(outside)
    images = str(inside.parent)

    def written(path):
        parquet.row_group.cache_clear()
        value = {"bytes": None, "path": path} if struct else path
        pq.write_table(pa.table({"image": [value]}), tmp_path / "train.parquet")
        return Parquet(root=str(tmp_path), image_root=images)

    source = written(str(outside))
    fails(dataclasses.replace(source, image_root=""), "row 0", "but a path")
    fails(source, "leads out of it")
    fails(written("../secret.png"), "leads out of it")
    fails(written("link.png"), "leads out of it")
    fails(written("gone.png"), "no such file")
    for path in ("1.png", str(inside)):
        examples = written(path).open("train")
        np.testing.assert_array_equal(examples[0]["image"], X[1])
        assert examples.shape(0) == X[1].shape


@pytest.mark.parametrize("value", ["/etc/hostname", 7, None])
def test_only_paths_and_bytes_are_opened(value):
    # The suite's checks of types come before those of the function.
    with pytest.raises((DataError, TypeCheckError)):
        image_file.pixels(value, "a")


@pytest.mark.parametrize("cls", [ImageZip, Parquet, TFRecord, LMDB])
def test_wrong_roots(cls, tmp_path):
    fails(cls(root=str(tmp_path / "gone")), tmp_path / "gone", "no such file")
    fails(cls(root=str(tmp_path)), tmp_path, "no file of that kind")


def test_names_without_a_split(tmp_path):
    """Refused, with the way out; and so is one such file among others."""
    pq.write_table(pa.table({"image": [PNG[0]]}), tmp_path / "faces.parquet")
    fails(Parquet(root=str(tmp_path)), "flat = True")
    pq.write_table(pa.table({"image": [PNG[0]]}), tmp_path / "train.parquet")
    fails(Parquet(root=str(tmp_path)), "faces.parquet", "names no split")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("faces/1.png", PNG[0])
    fails(ImageZip(root=str(tmp_path / "a.zip")), "flat = True")


@pytest.mark.parametrize(
    "path, split",
    [
        ("data/train-00000-of-00004.parquet", "train"),
        ("val.lmdb", "validation"),
        ("validation/validation-r08-s-0000-of-0040.tfrecords", "validation"),
        ("test-faces/train_0.parquet", "train"),
        ("cifar10-test.tfrecord-00000-of-00001", "test"),
        ("validation/part-0.parquet", "validation"),
        ("latest/restrained.parquet", None),
    ],
)
def test_splits_in_names(path, split):
    assert split_words(path) == ([split] if split else [])


@pytest.mark.parametrize(
    "paths, expected",
    [
        (["a/b/1.png", "a/b/2.png"], ["1.png", "2.png"]),
        (["a/b/1.png", "a/c/2.png"], ["b/1.png", "c/2.png"]),
        (["a/train/1.png"], ["train/1.png"]),
        (["1.png", "a/2.png"], ["1.png", "a/2.png"]),
        ([], []),
    ],
)
def test_common_folders(paths, expected):
    assert without_common_folder(paths) == expected


def test_masked_checksums_are_eq2():
    """Of CRC-32C's published values: RFC 3720, appendix B.4, and the check value of
    the CRC catalogue."""
    published = {
        b"123456789": 0xE3069283,
        bytes(32): 0x8A9136AA,
        b"\xff" * 32: 0x62A8AB43,
        bytes(range(32)): 0x46DD794E,
    }
    for data, crc in published.items():
        rotated = crc // 2**15 + crc % 2**15 * 2**17
        assert masked(data, "a") == (rotated + 0xA282EAD8) % 2**32


def test_tfrecord_missing_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    (tmp_path / "train.tfrecord").write_bytes(bytes(20))
    with pytest.raises(DataError, match=r"pip install '\.\[tfrecord\]'") as error:
        TFRecord(root=str(tmp_path)).open("train")
    assert error.value.argument == "root"


def test_tf_example_wire_format():
    """Bytes written by hand from the protocol: a map of one packed int64 list."""
    packed = b"\x0a\x02\x05\x07"  # value = [5, 7]
    feature = b"\x1a" + bytes([len(packed)]) + packed  # int64_list
    entry = b"\x0a\x01k\x12" + bytes([len(feature)]) + feature
    features = b"\x0a" + bytes([len(entry)]) + entry
    raw = b"\x0a" + bytes([len(features)]) + features
    assert list(Example.FromString(raw).features.feature["k"].int64_list.value) == [
        5,
        7,
    ]
