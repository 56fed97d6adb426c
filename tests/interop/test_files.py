"""Files of published runs: what they hold is what comes back, or an error in words."""

import dataclasses
import json

import numpy as np
import pytest

from lsgm.interop import files
from lsgm.interop.files import FileError
from tests.interop.published_run import run

SUFFIXES = [".npz", ".safetensors"]


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip(suffix, tmp_path):
    path = tmp_path / f"run{suffix}"
    files.write(path, run())
    back = files.read(path)
    assert_same(back.vae, run().vae)
    assert_same(back.prior, run().prior)
    assert back.average is None
    assert (back.args, back.step) == (run().args, run().step)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_run_of_the_first_stage_has_no_prior(suffix, tmp_path):
    path = tmp_path / f"run{suffix}"
    files.write(path, run()._replace(prior=None))
    assert files.read(path).prior is None


def test_given_arguments_replace_those_in_the_file(tmp_path):
    path = tmp_path / "run.npz"
    files.write(path, run()._replace(args={}))
    with pytest.raises(FileError, match="no arguments of the run"):
        files.read(path)
    assert files.read(path, {"dataset": "mnist"}).args == {"dataset": "mnist"}


@dataclasses.dataclass
class Calls:
    """Pickles to a call that leaves a trace."""

    trace: str

    def __reduce__(self):
        return open, (self.trace, "w")


def test_objects_in_npz_are_refused(tmp_path):
    trace = tmp_path / "trace"
    objects = np.array([Calls(str(trace))], dtype=object)
    np.savez(tmp_path / "run.npz", **{"vae_state_dict.stem.weight": objects})
    with pytest.raises(FileError, match="pickle"):
        files.read(tmp_path / "run.npz")
    assert not trace.exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_files_are_named(suffix, tmp_path):
    path = tmp_path / f"run{suffix}"
    files.write(path, run())
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FileError, match=f"run{suffix}"):
        files.read(path)


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"stem.weight": np.zeros(3)}, "vae_state_dict.*but not stem.weight"),
        ({"dae_state_dict.mixing_logit": np.zeros(3)}, "no tensor vae_state_dict"),
        ({"vae_state_dict.a": np.zeros(1), "args": np.array("{")}, "no JSON"),
    ],
)
def test_other_contents_are_named(arrays, words, tmp_path):
    np.savez(tmp_path / "run.npz", **arrays)
    with pytest.raises(FileError, match=words):
        files.read(tmp_path / "run.npz", json.loads('{"dataset": "mnist"}'))


def test_other_suffixes_and_missing_files_are_refused(tmp_path):
    (tmp_path / "run.bin").touch()
    with pytest.raises(FileError, match="safetensors"):
        files.read(tmp_path / "run.bin")
    with pytest.raises(FileError, match="no such file"):
        files.read(tmp_path / "absent.npz")
    with pytest.raises(FileError, match="written are"):
        files.write(tmp_path / "run.pt", run())
