"""State dictionaries in PyTorch's two layouts, without PyTorch; nothing is executed."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from lsgm import limits
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


def nested(depth, kind=b"\x86"):
    """Opcodes of a pair of the same pair, ``depth`` times: 2^depth nodes."""
    step = b"q" + bytes([9]) + b"0" + b"h\x09" * 2 + kind
    return b"I1\n" + step * depth


@pytest.mark.parametrize(
    "content",
    [
        # A shape; a key, which is hashed; a size; what names no storage.
        b"ctorch._utils\n_rebuild_tensor_v2\n(NI0\n" + nested(60) + b"(tI0\nNtR.",
        b"}" + nested(60) + b"I1\ns.",
        b"ctorch\nSize\n" + nested(60) + b"\x85R.",
        nested(60) + b"Q.",
        b"}S'a'\n" + nested(60) + b"s.",
    ],
    ids=["shape", "key", "size", "storage", "value"],
)
def test_small_pickles_that_unfold_are_refused_at_once(tmp_path, content):
    for form in forms(b"\x80\x02" + content):
        with pytest.raises(FileError, match="w.pt is refused: .* unfold") as error:
            reading(tmp_path / "w.pt", form)
        assert len(str(error.value)) < 500


def test_lists_that_grow_after_they_are_named_unfold_too(tmp_path):
    """A pair of the list before, put into it when its name stands in the memo."""
    content = b"]q\x000" + b"".join(
        b"]q" + bytes([i]) + b"(h" + bytes([i - 1]) + b"h" + bytes([i - 1]) + b"e0"
        for i in range(1, 60)
    )
    with pytest.raises(FileError, match="w.pt is refused: it unfolds to over"):
        reading(tmp_path / "w.pt", in_zip(b"\x80\x02" + content + b"h\x3b.", {}))


@pytest.mark.parametrize("shape", [(2.0,), ("a" * 10**6,), ((1, 2),)])
def test_errors_are_short_whatever_the_file_says(tmp_path, shape):
    item = tensor("Float", "7", 24, 0, shape, (1,), legacy=True)
    content = in_sequence(pickled({"a": item}), {"7": np.zeros(24, np.float32)})
    with pytest.raises(FileError, match="no tensor: offset 0, shape") as error:
        reading(tmp_path / "w.pt", content)
    assert len(str(error.value)) < 600


def test_what_was_packed_tightly_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "FREE_BYTES", 10_000)
    state = {"a": np.zeros(100_000, np.float32)}
    content = torch_bytes.zipped(state)
    assert not reading(tmp_path / "w.pt", content)["a"].any()
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as loose,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as tight,
    ):
        for name in loose.namelist():
            tight.writestr(name, loose.read(name))
    with pytest.raises(FileError, match="w.pt is refused: .* would unpack to"):
        reading(tmp_path / "w.pt", file.getvalue())


def test_many_views_of_one_storage_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "FREE_BYTES", 10_000)
    shared = {"7": np.zeros(5000, np.float32)}
    many = {
        f"{i}": tensor("Float", "7", 5000, 0, (5000,), (1,), legacy=False)
        for i in range(1000)
    }
    with pytest.raises(FileError, match="w.pt is refused: .* would unpack to"):
        reading(tmp_path / "w.pt", in_zip(pickled(many), shared))


def test_parameters_are_tensors(tmp_path):
    """What gradients were taken of is wrapped once more."""
    item = tensor("Float", "0", 2, 0, (2,), (1,), legacy=False)
    wrapped = b"ctorch._utils\n_rebuild_parameter\n(" + item + b"\x88"
    wrapped += torch_bytes.ORDERED + b"tR"
    state = {"0": np.float32([1, 2])}
    content = in_zip(pickled({"a": wrapped}), state)
    assert reading(tmp_path / "w.pt", content)["a"].tolist() == [1, 2]
    wrong = wrapped.replace(item, b"I5\n")
    with pytest.raises(FileError, match="no parameter: 5"):
        reading(tmp_path / "w.pt", in_zip(pickled({"a": wrong}), state))


def test_brief_floats_are_read_as_float32(tmp_path):
    """bfloat16 is the upper half of float32: 1, -2, 0.1 cut to 8 bits."""
    upper = np.float32([1, -2, 0.1]).view(np.uint32) >> 16
    item = tensor("BFloat16", "0", 3, 0, (3,), (1,), legacy=False)
    scalar = tensor("BFloat16", "0", 3, 1, (), (), legacy=False)
    content = pickled({"a": item, "b": scalar})
    found = reading(tmp_path / "w.pt", in_zip(content, {"0": upper.astype(np.uint16)}))
    assert all(array.dtype == np.float32 for array in found.values())
    np.testing.assert_allclose(found["a"], [1, -2, 0.1], rtol=2**-7)
    assert found["a"][:2].tolist() == [1, -2] and found["b"] == -2
