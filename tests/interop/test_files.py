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


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_prefixes_of_wrappers_are_named_and_stripped(suffix, tmp_path):
    vae, prior = (
        {f"module.{name}": tensor for name, tensor in state.items()}
        for state in (run().vae, run().prior)
    )
    path = tmp_path / f"run{suffix}"
    files.write(path, run()._replace(vae=vae, prior=prior))
    with pytest.raises(FileError, match=f"run{suffix}: every name of vae.*--strip_pre"):
        files.read(path)
    found = files.read(path, prefix="module.")
    assert_same(found.vae, run().vae)
    assert_same(found.prior, run().prior)
    files.write(path, run())
    with pytest.raises(FileError, match="--strip_prefix=module.: vae_state_dict. has"):
        files.read(path, prefix="module.")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("args", [["--dataset", "mnist"], "mnist", 5])
def test_arguments_that_are_no_names_are_refused(suffix, args, tmp_path):
    path = tmp_path / f"run{suffix}"
    files.write(path, run()._replace(args=args))
    with pytest.raises(FileError, match="arguments are of type .*as a JSON object"):
        files.read(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("step", ["12", None, -1, [1]])
def test_a_step_that_is_no_number_is_named(suffix, step, tmp_path):
    path = tmp_path / f"run{suffix}"
    files.write(path, run()._replace(step=step))
    with pytest.raises(FileError, match="step is .*, not a number of updates"):
        files.read(path)


def safetensors_file(path, kind, raw):
    """One tensor of two numbers, of a type that NumPy may not have."""
    about = {"dtype": kind, "shape": [2], "data_offsets": [0, len(raw)]}
    head = json.dumps({"vae_state_dict.a": about}).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + raw)
    return path


def test_brief_floats_are_read_as_float32(tmp_path):
    """1 and -2 have no bits beyond the upper 16."""
    path = safetensors_file(tmp_path / "run.safetensors", "BF16", b"\x80\x3f\x00\xc0")
    found = files.read(path, {"dataset": "mnist"}).vae["a"]
    assert found.dtype == np.float32 and found.tolist() == [1, -2]


def test_types_that_are_not_read_are_named(tmp_path):
    path = safetensors_file(tmp_path / "run.safetensors", "F8_E4M3", b"\x38\x38")
    with pytest.raises(FileError, match="tensor vae_state_dict.a is of type F8_E4M3"):
        files.read(path)


def test_refusals_advise_nothing_unsafe(tmp_path):
    np.savez(tmp_path / "run.npz", x=np.array([{}], dtype=object))
    with pytest.raises(FileError, match="x.npy holds pickled objects") as error:
        files.read(tmp_path / "run.npz")
    assert "allow_pickle" not in str(error.value)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_empty_files_are_named(suffix, tmp_path):
    (tmp_path / f"run{suffix}").touch()
    with pytest.raises(FileError, match=f"run{suffix}"):
        files.read(tmp_path / f"run{suffix}")
