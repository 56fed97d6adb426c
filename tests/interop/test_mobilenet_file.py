"""The file of MobileNetV2's weights: every tensor is accounted for."""

import functools

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from lsgm.interop import mobilenet_file
from lsgm.interop.torch_file import FileError
from lsgm.networks.mobilenet import MobileNetV2
from tests.interop import torch_bytes
from tests.networks.test_mobilenet import TINY


@functools.cache
def state(network=TINY, counters=True):
    """Random tensors by their published names."""
    rng = np.random.default_rng(0)
    shapes = flatten_dict(mobilenet_file.template(network))
    found = {}
    for name, path, layout in mobilenet_file.entries(network):
        shape = layout.published_shape(shapes[path].shape)
        # Kernels of both signs, so that the network tells images apart.
        found[name] = rng.random(shape, np.float32) - np.float32(len(shape) == 4) / 2
        if counters and name.endswith("running_var"):
            module = name.removesuffix("running_var")
            found[f"{module}num_batches_tracked"] = np.array(9)
    return found


def test_names_and_shapes_are_the_packaged_ones():
    """312 tensors, 2,258,036 numbers; names as in the file."""
    found = state(MobileNetV2())
    assert len(found) == 52 * 6 == 312
    assert sum(np.size(tensor) for tensor in found.values()) == 2_258_036
    for name, shape in {
        "features.0.0.weight": (32, 3, 3, 3),
        "features.0.1.running_mean": (32,),
        "features.1.conv.0.weight": (32, 1, 3, 3),
        "features.1.conv.3.weight": (16, 32, 1, 1),
        "features.1.conv.4.running_var": (16,),
        "features.2.conv.0.weight": (96, 16, 1, 1),
        "features.2.conv.3.weight": (96, 1, 3, 3),
        "features.2.conv.7.bias": (24,),
        "features.17.conv.6.weight": (320, 960, 1, 1),
        "features.18.0.weight": (1280, 320, 1, 1),
        "features.18.1.weight": (1280,),
    }.items():
        assert found[name].shape == shape


@pytest.mark.parametrize("layout", [torch_bytes.sequence, torch_bytes.zipped])
def test_tensors_stand_where_they_belong(tmp_path, layout):
    """In both layouts of the file, with a classifier and without."""
    tensors, path = state(), tmp_path / "w.pt"
    head = {"classifier.1.weight": np.ones((10, 5)), "classifier.1.bias": np.ones(10)}
    path.write_bytes(layout(tensors))
    found = mobilenet_file.read(path, TINY)
    path.write_bytes(layout(tensors | head))
    jax.tree.map(np.testing.assert_array_equal, mobilenet_file.read(path, TINY), found)
    narrow = found["2"]["project"]
    published = tensors["features.2.conv.6.weight"]
    np.testing.assert_array_equal(narrow["kernel"][0, 0], published[:, :, 0, 0].T)
    by_channel = found["1"]["depthwise"]["kernel"]
    published = tensors["features.1.conv.0.weight"]
    np.testing.assert_array_equal(by_channel[1, 2, 0], published[:, 0, 1, 2])
    for ours, theirs in (
        ("scale", "weight"),
        ("bias", "bias"),
        ("mean", "running_mean"),
        ("var", "running_var"),
    ):
        expected = tensors[f"features.2.conv.7.{theirs}"]
        np.testing.assert_array_equal(narrow[ours], expected)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda s: s.pop("features.1.conv.4.bias"), "missing: features.1.conv.4.bias"),
        (
            lambda s: s.update({"features.5.0.weight": np.zeros(1)}),
            "surplus: features.5.0.weight",
        ),
        (
            lambda s: s.update({"features.9.num_batches_tracked": np.array(1)}),
            "surplus: features.9.num_batches_tracked",
        ),
        (lambda s: s.update({"classifier.2.bias": np.ones(1)}), "classifier.2.bias"),
        (
            lambda s: s.update({"features.0.0.weight": np.zeros((4, 1, 3, 3))}),
            r"features.0.0.weight has shape \(4, 1, 3, 3\), expected \(4, 3, 3, 3\)",
        ),
    ],
)
def test_refuses_other_tensors(tmp_path, spoil, message):
    spoilt = dict(state())
    spoil(spoilt)
    (tmp_path / "w.pt").write_bytes(torch_bytes.sequence(spoilt))
    with pytest.raises(FileError, match=message):
        mobilenet_file.read(tmp_path / "w.pt", TINY)


def test_counters_may_be_absent(tmp_path):
    (tmp_path / "w.pt").write_bytes(torch_bytes.zipped(state(counters=False)))
    assert "kernel" in mobilenet_file.read(tmp_path / "w.pt", TINY)["0"]
