"""The file of Inception's weights: every tensor is accounted for."""

import functools

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax.traverse_util import flatten_dict

from lsgm.interop import files, inception_file
from lsgm.interop.torch_file import FileError
from tests.interop import torch_bytes


@functools.cache
def state():
    """Random tensors by their published names, in the order of our entries."""
    rng = np.random.default_rng(0)
    shapes = flatten_dict(inception_file.template())
    tensors = {
        name: rng.random(layout.published_shape(shapes[path].shape), np.float32)
        for name, path, layout in inception_file.entries()
    }
    zeros = {n: np.zeros(s, np.float32) for n, s in inception_file.CLASSIFIER.items()}
    return tensors | zeros


def test_names_and_shapes_are_the_published_ones():
    assert len(state()) == 94 * 5 + 2
    for name, shape in {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
        "Conv2d_2b_3x3.bn.running_var": (64,),
        "Mixed_5b.branch_pool.conv.weight": (32, 192, 1, 1),
        "Mixed_6b.branch7x7_2.conv.weight": (128, 128, 1, 7),
        "Mixed_6b.branch7x7dbl_2.conv.weight": (128, 128, 7, 1),
        "Mixed_7c.branch3x3dbl_3b.bn.weight": (384,),
        "fc.weight": (1008, 2048),
    }.items():
        assert state()[name].shape == shape


def test_reads_every_format_alike(tmp_path):
    tensors = state()
    np.savez(tmp_path / "w.npz", **tensors)
    safetensors.numpy.save_file(tensors, tmp_path / "w.safetensors")
    counted = tensors | {"Conv2d_1a_3x3.bn.num_batches_tracked": np.array(0)}
    (tmp_path / "w.pth").write_bytes(torch_bytes.sequence(counted))
    found = [
        inception_file.read(tmp_path / f"w{s}")
        for s in (".npz", ".safetensors", ".pth")
    ]
    for other in found[1:]:
        jax.tree.map(np.testing.assert_array_equal, other, found[0])
    kernel = found[0]["Mixed_6b"]["branch7x7_2"]["conv"]["kernel"]
    published = tensors["Mixed_6b.branch7x7_2.conv.weight"]
    np.testing.assert_array_equal(kernel[0, 3], published[:, :, 0, 3].T)
    bn = found[0]["Mixed_6b"]["branch7x7_2"]
    for ours, theirs in (
        ("scale", "weight"),
        ("bias", "bias"),
        ("mean", "running_mean"),
        ("var", "running_var"),
    ):
        name = f"Mixed_6b.branch7x7_2.bn.{theirs}"
        np.testing.assert_array_equal(bn[ours], tensors[name])


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda s: s.pop("Mixed_7c.branch1x1.bn.bias"), "missing: Mixed_7c.branch1x1"),
        (lambda s: s.pop("fc.bias"), "fc.bias is missing"),
        (lambda s: s.update({"AuxLogits.x": np.zeros(1)}), "surplus: AuxLogits.x"),
        (lambda s: s.update({"fc.weight": np.zeros((1000, 2048))}), r"\(1000, 2048\)"),
        (
            lambda s: s.update({"Conv2d_1a_3x3.conv.weight": np.zeros((32, 3, 3, 1))}),
            r"Conv2d_1a_3x3.conv.weight has shape",
        ),
    ],
)
def test_refuses_other_tensors(tmp_path, monkeypatch, spoil, message):
    spoilt = dict(state())
    spoil(spoilt)
    monkeypatch.setattr(files, "read_state", lambda path: spoilt)
    with pytest.raises(FileError, match=message):
        inception_file.read(tmp_path / "w.npz")


def test_refuses_what_is_no_state_dictionary(tmp_path):
    path = tmp_path / "w.pth"
    with pytest.raises(FileError, match="no such file"):
        files.read_state(path)
    path.write_bytes(torch_bytes.in_sequence(b"}S'model'\n}s.", {}))
    with pytest.raises(FileError, match="is no state dictionary"):
        files.read_state(path)
    (tmp_path / "w.onnx").touch()
    with pytest.raises(FileError, match=r"known are .npz"):
        files.read_state(tmp_path / "w.onnx")
