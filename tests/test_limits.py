"""Small files that would cost much are refused before they cost anything."""

import io
import os
import zipfile

import numpy as np
import pytest

from lsgm import limits
from lsgm.arrays import read_arrays
from lsgm.files import read_object, write_arrays


def npz(path, content: bytes, packing=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr("x.npy", content)
    return path


def header(shape, dtype="<f4") -> bytes:
    file = io.BytesIO()
    words = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, words)
    return file.getvalue()


@pytest.mark.parametrize("write", [write_arrays, None])
def test_arrays_come_back(tmp_path, write):
    arrays = {
        "x": np.arange(6.0).reshape(2, 3).T,
        "words": np.array("text"),
        "none": np.zeros((0, 3)),
    }
    path = tmp_path / "a.npz"
    write(path, arrays) if write else np.savez_compressed(path, **arrays)
    found = read_arrays(path)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].flags.writeable


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (header((10**13,)) + bytes(8), "declares 40,000,000,000,000 bytes, and holds"),
        (header((2**40, 2**40)), "declares"),
        (header((-1, 4)), "declares -16 bytes, and holds 0"),
        (header((3,)), "declares 12 bytes, and holds 0"),
        (header((1,)) + bytes(5), "declares 4 bytes, and holds 5"),
        (header((1,), "|O") + bytes(8), "holds pickled objects, which could run code"),
        (b"", "magic string"),
        (b"\x93NUMPY\x09\x00", "version"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535, "header that is damaged"),
    ],
)
def test_arrays_that_declare_other_than_they_hold(tmp_path, content, words):
    with pytest.raises(ValueError, match=words) as error:
        read_arrays(npz(tmp_path / "a.npz", content))
    assert "allow_pickle" not in str(error.value) and len(str(error.value)) < 500


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00"])
def test_other_files_are_no_npz(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match="not an npz of arrays"):
        read_arrays(tmp_path / "a.npz")


def test_what_unpacks_to_far_more_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "FREE_BYTES", 10_000)
    packed = header((25_000,)) + bytes(100_000)
    npz(tmp_path / "a.npz", packed, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="bytes would unpack to 100,.*without compr"):
        read_arrays(tmp_path / "a.npz")
    assert len(read_arrays(npz(tmp_path / "b.npz", packed))["x"]) == 25_000


def test_small_files_may_unpack_as_they_like():
    limits.require_ratio(limits.FREE_BYTES, 1)
    limits.require_ratio(200 * limits.FREE_BYTES, limits.FREE_BYTES)
    for unpacked, packed in ((limits.FREE_BYTES + 1, 1), (2**40, 2**32)):
        with pytest.raises(limits.TooLargeError):
            limits.require_ratio(unpacked, packed)


def test_pipes_are_no_files(tmp_path):
    """Opening one waits for whoever writes to it."""
    os.mkfifo(tmp_path / "pipe")
    assert read_object(tmp_path / "pipe") is None
    with pytest.raises(OSError, match="no regular one"):
        read_arrays(tmp_path / "pipe")


def test_long_and_deep_values_are_cut_short():
    deep = ()
    for _ in range(60):
        deep = (deep, deep)
    for value in (deep, [deep], {"a": deep}, "x" * 10**6, [*range(10**4)]):
        assert len(limits.shorten(value)) < 500
    assert limits.shorten((4, 3, 2, 2)) == "(4, 3, 2, 2)"
