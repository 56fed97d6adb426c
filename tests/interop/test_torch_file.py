"""State dictionaries in PyTorch's two layouts, without PyTorch; nothing is executed."""

import os
import pickle

import numpy as np
import pytest

from lsgm.interop import files, torch_file
from lsgm.interop.torch_file import FileError
from tests.interop import torch_bytes
from tests.interop.torch_bytes import in_sequence, in_zip, pickled, tensor

LAYOUTS = {"sequence": torch_bytes.sequence, "zip": torch_bytes.zipped}
RNG = np.random.default_rng(0)
STATE = {
    "conv.weight": RNG.normal(size=(4, 3, 2, 2)).astype(np.float32),
    "transposed": RNG.normal(size=(5, 3)).astype(np.float32).T,
    "half": np.float16([0.5, -2.0]),
    "double": RNG.normal(size=3),
    "count": np.array(7),
    "none": np.zeros((0, 3), np.float32),
    "short": np.int32([-1, 1]),
}


def reading(path, content):
    path.write_bytes(content)
    return torch_file.read_state(path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reads_both_layouts(tmp_path, layout):
    (tmp_path / "w.pt").write_bytes(LAYOUTS[layout](STATE))
    found = files.read_state(tmp_path / "w.pt")
    assert list(found) == list(STATE)
    for name, array in STATE.items():
        floating = array.dtype.kind == "f"
        assert found[name].dtype == (np.float32 if floating else array.dtype)
        np.testing.assert_array_equal(found[name], array.astype(found[name].dtype))


def test_views_of_a_storage_are_eq1(tmp_path):
    """Two tensors share a storage, with offset and strides."""
    shared, numbers = np.arange(24, dtype=np.float32), {}
    for name, *where in (("a", 0, (4, 3), (3, 1)), ("b", 13, (2, 3), (1, 4))):
        numbers[name] = tensor("Float", "7", 24, *where, legacy=True)
    found = reading(tmp_path / "w.pt", in_sequence(pickled(numbers), {"7": shared}))
    np.testing.assert_array_equal(found["a"], np.arange(12).reshape(4, 3))
    np.testing.assert_array_equal(found["b"], [[13, 17, 21], [14, 18, 22]])


def forms(content, storages=None):
    """The pickle in both layouts."""
    return in_sequence(content, storages or {}), in_zip(content, storages or {})


class Executes:
    def __init__(self, call, *arguments):
        self.reduced = call, arguments

    def __reduce__(self):
        return self.reduced


def test_what_would_run_is_refused_by_name(tmp_path):
    trace = tmp_path / "trace"
    calls = {
        "posix.mkdir": pickle.dumps({"w": Executes(os.mkdir, str(trace))}, 2),
        "builtins.eval": b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.",
        "collections.OrderedDict.fromkeys": b"\x80\x04\x8c\x0bcollections"
        b"\x8c\x14OrderedDict.fromkeys\x93.",
        "torch.load": b"ctorch\nload\n.",
        "torch.BoolStorage": b"ctorch\nBoolStorage\n.",
        "os.system": b"(S'true'\nios\nsystem\n.",
    }
    for name, content in calls.items():
        for form in forms(content):
            with pytest.raises(FileError, match=f"w.pt is refused: it names {name}"):
                reading(tmp_path / "w.pt", form)
    assert not trace.exists()


def test_the_head_is_read_as_carefully(tmp_path):
    """Each of the pickles of a sequence."""
    machine = Executes(os.mkdir, str(tmp_path / "trace"))
    good, storages = torch_bytes.of(STATE, legacy=True)
    for fields in ({"machine": machine}, {"keys": machine}):
        with pytest.raises(FileError, match=r"it names posix\.mkdir"):
            reading(tmp_path / "w.pt", in_sequence(good, storages, **fields))
    assert not (tmp_path / "trace").exists()


def test_a_pickle_leaves_no_attributes_behind(tmp_path):
    spoil = b"ctorch._utils\n_rebuild_tensor_v2\n"
    for attributes in (b"}S'a'\nI1\ns", b"(N}S'__doc__'\nI1\nst"):
        with pytest.raises(FileError, match="no state dictionary"):
            reading(tmp_path / "w.pt", in_zip(spoil + attributes + b"b.", {}))
    assert not vars(torch_file._rebuilt).get("a")
    assert torch_file._rebuilt.__doc__ != 1


@pytest.mark.parametrize(
    "where",
    [
        (21, (2, 2), (2, 1)),  # 21 + 2 + 1 = 24 is behind the end
        (0, (25,), (0,)),  # more numbers than there are
        (-1, (2,), (1,)),
        (0, (2, 2), (1,)),
        (0, (2.0,), (1,)),
    ],
)
def test_views_beyond_their_storage_are_refused(tmp_path, where):
    shared = {"7": np.zeros(24, np.float32)}
    for legacy, layout in ((True, in_sequence), (False, in_zip)):
        item = tensor("Float", "7", 24, *where, legacy=legacy)
        with pytest.raises(FileError, match="is damaged"):
            reading(tmp_path / "w.pt", layout(pickled({"a": item}), shared))


def test_damage_is_named(tmp_path):
    path = tmp_path / "w.pt"
    for whole in (layout(STATE) for layout in LAYOUTS.values()):
        for length in (0, 3, 30, len(whole) // 2, len(whole) - 1):
            with pytest.raises(FileError, match=r"w\.pt is damaged"):
                reading(path, whole[:length])
    content, storages = torch_bytes.of({"a": np.ones(3, np.float32)}, legacy=True)
    longer = {key: np.ones(4, np.float32) for key in storages}
    for spoilt, message in (
        (in_sequence(content, longer), "has 4 numbers"),
        (in_zip(content, longer), "has 16"),
        (in_sequence(content, {}), "differ from their list"),
        (in_zip(content, {}), "no item named"),
        (in_zip(content, storages, order=b"big"), "byte order"),
        (in_sequence(content, storages, machine={"little_endian": False}), "order"),
    ):
        with pytest.raises(FileError, match=f"is damaged.*{message}"):
            reading(path, spoilt)


def test_something_else_is_no_state_dictionary(tmp_path):
    nested = torch_bytes.ORDERED + torch_bytes.plain("a") + b"}s"
    for content in (nested + b".", b"I5\n.", b"}I5\nI6\ns."):
        for form in forms(content):
            with pytest.raises(FileError, match="no state dictionary"):
                reading(tmp_path / "w.pt", form)
