"""PyTorch's files: the right weights, and nothing in them is executed."""

import argparse
import builtins
import collections
import os
import warnings

import numpy as np
import pytest

from lsgm.interop import files, torch_file
from lsgm.interop.files import FileError
from tests.interop.published_run import run
from tests.interop.test_files import assert_same


@pytest.fixture(scope="module")
def torch():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("torch")


def tensors(torch, state):
    pairs = ((name, torch.tensor(array)) for name, array in state.items())
    return collections.OrderedDict(pairs)


def optimizer_state(torch, state):
    """Of a real optimiser after one step, with the averages that LSGM adds."""
    parameters = [torch.nn.Parameter(t.clone()) for t in state.values()]
    optimizer = torch.optim.Adam(parameters, lr=1e-4, weight_decay=3e-4, eps=1e-4)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for parameter in parameters:
        optimizer.state[parameter]["ema"] = parameter.detach() * 2
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10.0)
    averages = [2 * parameter.detach().numpy() for parameter in parameters]
    return optimizer.state_dict(), scheduler.state_dict(), averages


@pytest.fixture
def last(torch):
    """Content of a ``checkpoint.pt``, and the averages in it by name."""
    vae, prior = tensors(torch, run().vae), tensors(torch, run().prior)
    own, scheduler, averages = optimizer_state(torch, prior)
    size = torch.Size([4, 9])
    vectors = {"sr_u": {size: torch.zeros(2, 4)}, "sr_v": {size: torch.zeros(2, 9)}}
    content = {
        "epoch": 3,
        "global_step": run().step,
        "args": argparse.Namespace(**run().args),
        "grad_scalar": {"scale": 1024.0, "growth_factor": 2.0, "_growth_tracker": 7},
        "best_score_fid": torch.tensor(7.22),
        "best_score_nll": 1e10,
        "dae_state_dict": prior,
        "dae_optimizer": own,
        "dae_scheduler": scheduler,
        "vae_state_dict": vae,
        "vae_optimizer": {"state": {}, "param_groups": []},
        "vae_scheduler": scheduler,
        "vae_sn_calculator": vectors,
        "dae_sn_calculator": vectors,
    }
    return content, dict(zip(prior, averages, strict=True))


def saved(torch, path, content):
    torch.save(content, path)
    return path


def test_last_checkpoint_has_raw_weights_and_averages(torch, last, tmp_path):
    content, averages = last
    found = files.read(saved(torch, tmp_path / "checkpoint.pt", content))
    assert_same(found.vae, run().vae)
    assert_same(found.prior, run().prior)
    assert_same(found.average, averages)
    assert (found.args, found.step) == (run().args, run().step)


def test_best_checkpoint_has_averages_only(torch, last, tmp_path):
    content = {
        k: v for k, v in last[0].items() if "optimizer" not in k and "sched" not in k
    }
    found = files.read(saved(torch, tmp_path / "checkpoint_fid.pt", content))
    assert_same(found.prior, run().prior)
    assert found.average is None


def test_first_stage_has_no_prior(torch, last, tmp_path):
    content = {k: v for k, v in last[0].items() if not k.startswith("dae")}
    found = files.read(saved(torch, tmp_path / "checkpoint.pt", content))
    assert found.prior is None and found.average is None
    assert_same(found.vae, run().vae)


def test_half_precision_becomes_single(torch, last, tmp_path):
    content, _ = last
    half = {k: v.half() for k, v in content["vae_state_dict"].items()}
    path = saved(torch, tmp_path / "c.pt", content | {"vae_state_dict": half})
    found = files.read(path).vae["stem.weight"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, run().vae["stem.weight"], rtol=1e-3)


class Executes:
    """Unpickles to a call that leaves a trace."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (self.trace,)


def test_code_in_the_file_is_refused(torch, last, tmp_path):
    trace = tmp_path / "trace"
    content = last[0] | {"best_score_nll": Executes(str(trace))}
    path = saved(torch, tmp_path / "checkpoint.pt", content)
    with pytest.raises(FileError, match=r"checkpoint\.pt is refused"):
        files.read(path)
    assert not trace.exists()


def test_missing_average_is_named(torch, last, tmp_path):
    content, _ = last
    del content["dae_optimizer"]["state"][3]["ema"]
    name = list(content["dae_state_dict"])[3]
    with pytest.raises(FileError, match=f"no average of {name}"):
        files.read(saved(torch, tmp_path / "checkpoint.pt", content))


def test_damaged_and_other_files_are_named(torch, last, tmp_path):
    path = saved(torch, tmp_path / "checkpoint.pt", last[0])
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(FileError, match=r"checkpoint\.pt is (damaged|refused)"):
        files.read(path)
    with pytest.raises(FileError, match="no checkpoint of LSGM"):
        files.read(saved(torch, tmp_path / "other.pt", {"model": {}}))


class Numbered:
    """Stands for a tensor where only the shape counts."""

    def __init__(self, *shape):
        self.shape = shape


def test_averages_are_numbered_in_the_order_of_the_state():
    """Fixed frequencies are counted and have no state of their own."""
    state = {"mixing_logit": Numbered(2), "temb_fun.w": Numbered(3), "a": Numbered(4)}
    averages = {0: Numbered(2), 2: Numbered(4)}
    optimizer = {
        "param_groups": [{"params": [0, 1, 2]}],
        "state": {number: {"ema": value} for number, value in averages.items()},
    }
    found = torch_file.average(state, optimizer)
    expected = [averages[0], state["temb_fun.w"], averages[2]]
    assert all(a is b for a, b in zip(found.values(), expected, strict=True))
    optimizer["state"][2]["ema"] = Numbered(5)
    with pytest.raises(FileError, match=r"average of a has shape \(5,\)"):
        torch_file.average(state, optimizer)
    optimizer["param_groups"][0]["params"].pop()
    with pytest.raises(FileError, match="2 parameters, dae_state_dict 3"):
        torch_file.average(state, optimizer)


def test_without_pytorch_the_error_says_what_to_do(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "torch":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    (tmp_path / "checkpoint.pt").touch()
    with pytest.raises(FileError, match=r"\.\[torch\]"):
        files.read(tmp_path / "checkpoint.pt")
