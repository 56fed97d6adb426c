"""Small files that would cost much: refused by name, before they are unpacked."""

import gzip
import os
import struct
import zipfile
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lsgm import limits
from lsgm.data.errors import DataError
from lsgm.data.sources import image_file
from lsgm.data.sources.arrays import Npz
from lsgm.data.sources.idx import IDX
from lsgm.data.sources.image_folder import ImageFolder
from lsgm.data.sources.image_zip import ImageZip
from lsgm.data.sources.parquet import Parquet


def png(width, height) -> bytes:
    """The head of a PNG; its pixels are no matter, since nobody is to look at them."""

    def chunk(name, data):
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")


def fails(call, *words):
    with pytest.raises(DataError) as error:
        call()
    for word in words:
        assert str(word) in str(error.value)


@pytest.mark.parametrize("read", [image_file.pixels, image_file.shape])
@pytest.mark.parametrize("size", [(8193, 8192), (2**26 + 1, 1)])
def test_images_of_too_many_pixels_are_refused_by_their_head(read, size):
    text = f"{size[0]} x {size[1]} pixels are more than max_pixels = 67108864"
    fails(lambda: read(png(*size), "a.png"), "a.png", text)


@pytest.mark.parametrize("read", [image_file.pixels, image_file.shape])
def test_what_pillow_takes_for_a_bomb_is_refused_by_name(read):
    fails(lambda: read(png(60_000, 60_000), "a.png"), "a.png", "unreadable image")


def test_the_limit_is_the_users():
    fails(lambda: image_file.shape(png(3, 3), "a.png", 8), "max_pixels = 8")
    fails(lambda: image_file.shape(png(3, 3), "a.png", 9), "image file is truncated")


def a_folder(root):
    (root / "z.png").write_bytes(png(4, 4))
    return ImageFolder


def a_zip(root):
    with zipfile.ZipFile(root / "a.zip", "w") as archive:
        archive.writestr("z.png", png(4, 4))
    return ImageZip


@pytest.mark.parametrize("make", [a_folder, a_zip])
def test_sources_hand_the_limit_on(make, tmp_path):
    """It is no part of what a source is: no card has it."""
    source = make(tmp_path)(root=str(tmp_path), flat=True, max_pixels=15)
    examples = source.open("train")
    for read in (examples.shape, examples.__getitem__):
        fails(lambda read=read: read(0), "z.png", "max_pixels = 15")
    assert repr(source) == repr(make(tmp_path)(root=str(tmp_path), flat=True))


def test_members_that_were_packed_tightly_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "FREE_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("z.bmp", bytes(100_000))
    examples = ImageZip(root=str(tmp_path), flat=True).open("train")
    fails(lambda: examples.shape(0), "z.bmp", "would unpack to 100,000")


def idx(shape, content=b"") -> bytes:
    return bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes() + content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (idx((2, 100, 100), bytes(20_000)), "would unpack to 20,000"),
        (idx((2**32 - 1,) * 3), "would unpack to 79,228,162,458,924,"),
        (idx((1, 2, 2), bytes(100_000)), "header says [1, 2, 2], but there are more"),
        (idx((1, 2, 2), bytes(3)), "header says [1, 2, 2], but there are 3 bytes"),
        (idx((1, 2)), "not an IDX file"),
    ],
)
def test_idx_is_unpacked_as_far_as_its_head_says(tmp_path, monkeypatch, content, words):
    monkeypatch.setattr(limits, "FREE_BYTES", 1000)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(content))
    fails(lambda: IDX(root=str(tmp_path)).open("train"), path, words)


def test_an_npz_that_declares_more_than_it_holds_is_refused(tmp_path):
    words = {"descr": "|u1", "fortran_order": False, "shape": (10**13,)}
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w") as archive,
        archive.open("x.npy", "w") as file,
    ):
        np.lib.format.write_array_header_1_0(file, words)
    source = Npz(train=str(tmp_path / "a.npz"))
    fails(lambda: source.open("train"), "a.npz", "declares 10,000,000,000,000 bytes")


def test_a_row_group_that_was_packed_tightly_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "FREE_BYTES", 1000)
    path = tmp_path / "train.parquet"
    rows = pa.table({"image": [bytes(200_000)], "label": [0]})
    pq.write_table(rows, path, compression="zstd", use_dictionary=False)
    source = Parquet(root=str(tmp_path))
    fails(lambda: source.open("train"), path, "would unpack to 200,", "as many")


def test_a_pipe_is_no_image(tmp_path):
    """Opening one would wait for whoever writes to it."""
    os.mkfifo(tmp_path / "z.png")
    (tmp_path / "a.png").write_bytes(png(4, 4))
    source = ImageFolder(root=str(tmp_path), flat=True)
    assert len(source.open("train")) == 1
    assert "left out, by suffix: 1 .png (no regular file)" in source.notes()
    for read in (image_file.pixels, image_file.shape):
        fails(lambda read=read: read(tmp_path / "z.png", "z.png"), "no regular one")
