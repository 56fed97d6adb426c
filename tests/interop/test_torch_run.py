"""Runs in PyTorch's files: the right weights, and nothing in them is executed."""

import argparse
import collections
import os
import pickle

import numpy as np
import pytest

from lsgm.interop import files, torch_run
from lsgm.interop.files import FileError
from lsgm.interop.torch_file import Storage, Tensor
from tests.interop import torch_bytes
from tests.interop.published_run import run
from tests.interop.test_files import assert_same
from tests.interop.torch_bytes import Size

LAYOUTS = ("zip", "sequence")


def optimizer_state(state):
    """Of Adam after one step, with the averages that LSGM adds."""
    numbered = {
        i: {"step": 1, "exp_avg": np.ones_like(p), "exp_avg_sq": p**2, "ema": 2 * p}
        for i, p in enumerate(state.values())
    }
    group = {"lr": 1e-4, "betas": (0.9, 0.999), "params": list(numbered)}
    return {"state": numbered, "param_groups": [group]}


@pytest.fixture
def last():
    """Content of a ``checkpoint.pt``, and the averages in it by name."""
    vae, prior = map(collections.OrderedDict, (run().vae, run().prior))
    size = Size((4, 9))
    vectors = {
        "sr_u": {size: np.zeros((2, 4), np.float32)},
        "sr_v": {size: np.zeros((2, 9), np.float32)},
    }
    scheduler = {"T_max": 10.0, "base_lrs": [1e-4], "_last_lr": [np.float64(1e-4)]}
    content = {
        "epoch": 3,
        "global_step": run().step,
        "args": argparse.Namespace(**run().args),
        "grad_scalar": {"scale": 1024.0, "growth_factor": 2.0, "_growth_tracker": 7},
        "best_score_fid": np.array(7.22, np.float32),
        "best_score_nll": np.float64(1e10),
        "dae_state_dict": prior,
        "dae_optimizer": optimizer_state(prior),
        "dae_scheduler": scheduler,
        "vae_state_dict": vae,
        "vae_optimizer": {"state": {}, "param_groups": []},
        "vae_scheduler": scheduler,
        "vae_sn_calculator": vectors,
        "dae_sn_calculator": vectors,
    }
    return content, {name: 2 * array for name, array in prior.items()}


def saved(path, content, layout="zip"):
    path.write_bytes(torch_bytes.run(content, layout))
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_last_checkpoint_has_raw_weights_and_averages(last, tmp_path, layout):
    content, averages = last
    found = files.read(saved(tmp_path / "checkpoint.pt", content, layout))
    assert_same(found.vae, run().vae)
    assert_same(found.prior, run().prior)
    assert_same(found.average, averages)
    assert (found.args, found.step) == (run().args, run().step)


def test_best_checkpoint_has_averages_only(last, tmp_path):
    content = {
        k: v for k, v in last[0].items() if "optimizer" not in k and "sched" not in k
    }
    found = files.read(saved(tmp_path / "checkpoint_fid.pt", content))
    assert_same(found.prior, run().prior)
    assert found.average is None


def test_first_stage_has_no_prior(last, tmp_path):
    content = {k: v for k, v in last[0].items() if not k.startswith("dae")}
    found = files.read(saved(tmp_path / "checkpoint.pt", content))
    assert found.prior is None and found.average is None
    assert_same(found.vae, run().vae)


def test_half_precision_becomes_single(last, tmp_path):
    half = {k: v.astype(np.float16) for k, v in last[0]["vae_state_dict"].items()}
    path = saved(tmp_path / "c.pt", last[0] | {"vae_state_dict": half})
    found = files.read(path).vae["stem.weight"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, run().vae["stem.weight"], rtol=1e-3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_numbers_of_numpy_in_the_arguments_are_plain(last, tmp_path, layout):
    given = {
        "a": np.float32(0.5),
        "b": np.int64(-3),
        "c": np.bool_(True),
        "d": [1, "x"],
    }
    args = argparse.Namespace(**given)
    found = files.read(saved(tmp_path / "c.pt", last[0] | {"args": args}, layout)).args
    assert found == {"a": 0.5, "b": -3, "c": True, "d": [1, "x"]}
    assert [type(found[k]) for k in "abc"] == [float, int, bool]


class Executes:
    """Unpickles to a call that leaves a trace."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (self.trace,)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("key", ["best_score_nll", "args", "vae_optimizer"])
def test_code_in_the_file_is_refused(last, tmp_path, key, layout):
    trace = tmp_path / "trace"
    path = saved(
        tmp_path / "checkpoint.pt", last[0] | {key: Executes(str(trace))}, layout
    )
    with pytest.raises(FileError, match=r"checkpoint\.pt is refused: it names posix"):
        files.read(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "opcodes",
    [
        # A state for the class instead of an instance: attributes would stay behind.
        b"cargparse\nNamespace\n(N}S'__eq__'\nI1\nstb",
        b"cargparse\nNamespace\n}S'a'\nI1\nsb",
        # An object array, whose numbers would be read as addresses.
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O8'\nI0\nI1\ntRS'12345678'\ntR",
        b"cnumpy.core.multiarray\nscalar\n(S'f8'\nS'12345678'\ntR",
        b"ctorch\nSize\n((S'a'\nttR",
        b"c_codecs\nencode\n(S'a'\nS'rot13'\ntR",
    ],
)
def test_admitted_names_do_nothing_else(tmp_path, opcodes):
    before = dict(vars(argparse.Namespace))
    content = b"}S'vae_state_dict'\n" + opcodes + b"s."
    for form in (
        torch_bytes.in_zip(content, {}),
        torch_bytes.in_sequence(content, {}),
    ):
        (tmp_path / "c.pt").write_bytes(form)
        with pytest.raises(FileError, match="is damaged|is refused: it"):
            files.read(tmp_path / "c.pt")
    assert dict(vars(argparse.Namespace)) == before


def test_objects_and_arrays_of_numpy_are_refused(tmp_path):
    for value in (np.arange(3), np.random.default_rng(0)):
        content = pickle.dumps({"vae_state_dict": value}, 2)
        (tmp_path / "c.pt").write_bytes(torch_bytes.in_zip(content, {}))
        with pytest.raises(FileError, match="is refused: it names numpy"):
            files.read(tmp_path / "c.pt")


def test_missing_average_is_named(last, tmp_path):
    content, _ = last
    del content["dae_optimizer"]["state"][3]["ema"]
    name = list(content["dae_state_dict"])[3]
    with pytest.raises(FileError, match=f"no average of {name}"):
        files.read(saved(tmp_path / "checkpoint.pt", content))


def test_damaged_and_other_files_are_named(last, tmp_path):
    path = saved(tmp_path / "checkpoint.pt", last[0])
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(FileError, match=r"checkpoint\.pt is damaged"):
        files.read(path)
    with pytest.raises(FileError, match="no checkpoint of LSGM"):
        files.read(saved(tmp_path / "other.pt", {"model": {}}))
    with pytest.raises(FileError, match="args are no namespace"):
        files.read(saved(tmp_path / "other.pt", last[0] | {"args": 5}))


def numbered(*shape):
    """A tensor of which only the shape counts."""
    return Tensor(Storage("<f4", "0", 0), 0, shape, (1,) * len(shape))


def test_averages_are_numbered_in_the_order_of_the_state():
    """Fixed frequencies are counted and have no state of their own."""
    state = {"mixing_logit": numbered(2), "temb_fun.w": numbered(3), "a": numbered(4)}
    averages = {0: numbered(2), 2: numbered(4)}
    optimizer = {
        "param_groups": [{"params": [0, 1, 2]}],
        "state": {number: {"ema": value} for number, value in averages.items()},
    }
    found = torch_run.average(state, optimizer)
    expected = [averages[0], state["temb_fun.w"], averages[2]]
    assert all(a is b for a, b in zip(found.values(), expected, strict=True))
    optimizer["state"][2]["ema"] = numbered(5)
    with pytest.raises(FileError, match=r"average of a has shape \(5,\)"):
        torch_run.average(state, optimizer)
    optimizer["param_groups"][0]["params"].pop()
    with pytest.raises(FileError, match="2 parameters, dae_state_dict 3"):
        torch_run.average(state, optimizer)


@pytest.mark.parametrize(
    "optimizer",
    [{}, [], None, 5, {"state": {}}, {"param_groups": [5], "state": {}}],
)
def test_an_optimiser_without_parameters_is_named(last, tmp_path, optimizer):
    content = last[0] | {"dae_optimizer": optimizer}
    with pytest.raises(FileError, match="c.pt: dae_optimizer has no 'state' and"):
        files.read(saved(tmp_path / "c.pt", content))


def test_averages_that_are_no_tensors_are_named(last, tmp_path):
    content, _ = last
    for wrong in (5, {"ema": 5}, {}):
        content["dae_optimizer"]["state"][0] = wrong
        with pytest.raises(FileError, match="no average of "):
            files.read(saved(tmp_path / "c.pt", content))


@pytest.mark.parametrize("step", ["12", None, -1, 1.5, [1]])
def test_a_step_that_is_no_number_is_named(last, tmp_path, step):
    path = saved(tmp_path / "c.pt", last[0] | {"global_step": step})
    with pytest.raises(FileError, match="step is .*, not a number of updates"):
        files.read(path)


@pytest.mark.parametrize("args", [["--dataset", "mnist"], 5, "x"])
def test_arguments_that_are_no_names_are_refused(last, tmp_path, args):
    with pytest.raises(FileError, match="c.pt: its args are no namespace"):
        files.read(saved(tmp_path / "c.pt", last[0] | {"args": args}))


def test_prefixes_of_wrappers_are_named_and_stripped(last, tmp_path):
    """Also before the names that averages are counted by."""
    content, averages = last
    names = ("vae_state_dict", "dae_state_dict")
    wrapped = {
        name: collections.OrderedDict(
            (f"module.{key}", value) for key, value in content[name].items()
        )
        for name in names
    }
    path = saved(tmp_path / "c.pt", content | wrapped)
    with pytest.raises(FileError, match=r"c\.pt: every name of vae.*--strip_prefix=mo"):
        files.read(path)
    found = files.read(path, prefix="module.")
    assert_same(found.vae, run().vae)
    assert_same(found.average, averages)
    with pytest.raises(
        FileError, match="--strip_prefix=model.: vae_state_dict has 'mo"
    ):
        files.read(path, prefix="model.")
