"""Files are there whole or not at all."""

import numpy as np
import pytest

from lsgm.files import write_arrays, write_file


def test_text_and_bytes_arrive_in_a_new_folder(tmp_path):
    write_file(tmp_path / "a" / "b.txt", "größer")
    write_file(tmp_path / "c.bin", b"\x00\xff")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "größer".encode()
    assert (tmp_path / "c.bin").read_bytes() == b"\x00\xff"


def test_arrays_arrive_under_the_very_name(tmp_path):
    write_arrays(tmp_path / "a.stat", {"x": np.arange(3)})
    with np.load(tmp_path / "a.stat") as file:
        np.testing.assert_array_equal(file["x"], [0, 1, 2])


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, {"x": np.arange(3)})

    class Fails:
        def __array__(self, *args, **kwargs):
            raise RuntimeError("no such array")

    with pytest.raises(RuntimeError, match="no such array"):
        write_arrays(path, {"x": np.zeros(9), "y": Fails()})
    with np.load(path) as file:
        np.testing.assert_array_equal(file["x"], [0, 1, 2])
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]
