"""The harness takes a fixture for what it holds: other names, settings and sizes."""

import json
import os
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from lsgm.interop.nvae_args import vae_of
from lsgm.interop.nvae_names import to_published
from tests.conftest import golden_dir
from tests.golden import test_import, test_ode, test_sde, test_vae, vae_fixture
from tests.golden.files import base_of, paths_with
from tests.interop.test_nvae_names import ARGS

NAME = "numbers of another audit.npz"
# The sub-VP process of other rates, from one cutoff.
SUBVP = {
    "sde_type": "sub_vpsde",
    "beta_start": 0.02,
    "beta_end": 7.0,
    "sigma2_0": 0.0,
    "sigma2_min": 1e-4,
    "sigma2_max": 0.99,
}
CUTOFF = 2e-3


def write(folder, arrays):
    np.savez(folder / NAME, **arrays)
    return folder / NAME


def sub_vp(t, dtype):
    """A fixture's numbers for these times, by the textbook's forms in ``dtype``."""
    one, t = dtype(1), np.asarray(t, dtype)
    low, slope = dtype(SUBVP["beta_start"]), dtype(SUBVP["beta_end"]) - dtype(0.02)
    rng = np.random.default_rng(0)
    states = {k: rng.normal(size=(4, 1, 1, 2)) for k in ("z0", "noise", "mix_x")}
    z0, noise, mix = (states[k].astype(dtype) for k in ("z0", "noise", "mix_x"))

    def at(t):
        b = low * t + dtype(0.5) * slope * t * t
        beta, decay = low + slope * t, np.exp(-b)
        g2, var = beta * (one - np.exp(-2 * b)), (one - decay) ** 2
        return beta, decay, g2, var

    def inverse(var):
        c = np.log(one - var)
        return (-low + np.sqrt(low * low - 2 * slope * c)) / slope

    beta, decay, g2, var = at(t)
    expand = (slice(None), None, None, None)
    rho = np.linspace(0.1, 0.9, 5, dtype=dtype)
    first, last = one - at(dtype(CUTOFF))[1], one - at(one)[1]
    drawn = inverse(last**rho * first ** (one - rho))
    rate, kept, g2_t, var_t = at(drawn)
    weight = g2_t / (2 * var_t) * np.log(last / first) * (one - kept) / (kept * rate)
    folder = f"eps{CUTOFF:g}/ll_iw/subvp_like_vp=1"
    constant = 0.5 * (1 + np.log(2 * np.pi * float(at(dtype(CUTOFF))[3])))
    values = np.array([0.2, 0.5, 0.9], dtype)
    mean = np.sqrt(decay)[expand]
    mixed = (np.sqrt(var) / (var + decay))[expand] * mix
    return states | {
        "f": -beta / 2,
        "g2": g2,
        "var": var,
        "e2int_f": np.sqrt(decay),
        "sample_q": mean * z0 + np.sqrt(var)[expand] * noise,
        "mixing_component": mixed,
        "rho": rho,
        "var_vpsde": one - decay,
        "inv_var_in": values,
        "inv_var_vpsde": inverse(values),
        f"eps{CUTOFF:g}/cross_entropy_const": constant,
        f"{folder}/t": drawn,
        f"{folder}/var_t": var_t,
        f"{folder}/m_t": np.sqrt(kept),
        f"{folder}/g2_t": g2_t,
        f"{folder}/obj_weight_t": weight,
        f"{folder}/obj_weight_t_ll": weight,
    }


CHECKS = [
    test_sde.test_coefficients_on_the_grid,
    test_sde.test_kernel_and_mixing_component,
    test_sde.test_inverses,
    test_sde.test_modes_as_pairs_of_weight_and_density,
    test_sde.test_corrected_modes_differ_by_the_published_factors,
]


@pytest.mark.parametrize("exact", [True, False], ids=["float64 too", "float32"])
@pytest.mark.parametrize("times", [[0.3], [1e-4, 3e-3, 0.2, 1.0]], ids=len)
def test_a_process_of_other_rates_and_times(tmp_path, exact, times):
    """One time serves for all states. Where a fixture has no float64 numbers, the
    float32 ones of small times are held to what they can carry."""
    t = np.resize(np.float32(times), 4)
    arrays = {k: np.float32(v) for k, v in sub_vp(t, np.float32).items()}
    if exact:
        found = sub_vp(np.float64(t), np.float64)
        arrays |= {f"{k}__from64": np.float32(v) for k, v in found.items()}
    arrays |= {"t": np.float32(times), "config": json.dumps(SUBVP)}
    path = write(tmp_path, arrays)
    assert paths_with(tmp_path, *test_sde.PROCESS) == [path]
    for check in CHECKS:
        check(test_sde.Golden(path))
    key = f"eps{CUTOFF:g}/ll_iw/subvp_like_vp=1/obj_weight_t_ll"
    for name in ("g2", "sample_q", "inv_var_vpsde", key):
        suffix = "__from64" if exact else ""
        spoilt = arrays | {f"{name}{suffix}": 1.01 * arrays[f"{name}{suffix}"]}
        golden = test_sde.Golden(write(tmp_path, spoilt))
        caught = 0
        for check in CHECKS:
            try:
                check(golden)
            except AssertionError:
                caught += 1
        assert caught, name


def test_solutions_of_any_tolerance(tmp_path, monkeypatch):
    arrays = dict.fromkeys([*test_ode.PRIOR, "z1"], 0)
    keys = ["sample/tol0.001/nfe", "nll/tol3e-05/nfe", "nll/tol0.01/nfe"]
    path = write(tmp_path, arrays | dict.fromkeys(keys, 8))
    monkeypatch.setenv("LSGM_GOLDEN_DIR", str(tmp_path))
    (sample,) = test_ode.solved("sample")
    assert sample.values == ((path, "sample/tol0.001", 1e-3),) and not sample.marks
    loose, tight = test_ode.solved("nll")
    assert loose.values[0][2] == 1e-2 and not loose.marks
    assert tight.values[0][2] == 3e-5 and tight.marks[0].name == "slow"


def test_limits_grow_from_the_loose_tolerance_to_the_tight():
    found = [test_ode.limits(tol) for tol in (1.0, 1e-2, 1e-3, 1e-4, 1e-5, 1e-7)]
    np.testing.assert_allclose(found[:2], [test_ode.LOOSE] * 2)
    np.testing.assert_allclose(found[-2:], [test_ode.TIGHT] * 2)
    assert np.all(np.diff(found[1:-1], axis=0) > 0)


def test_a_vae_of_two_widths(tmp_path):
    """And the terms of its losses, at whatever coefficients the keys spell."""
    vae = vae_of(ARGS)
    params, mutables = jax.tree.map(
        lambda leaf: np.full(leaf.shape, 0.5, np.float32),
        jax.eval_shape(vae.init, jax.random.key(0)),
    )
    state = to_published(vae.network, params, mutables["batch_stats"])
    order = list(to_published(vae.network, params))
    shapes = [shape for scale in vae.latent_shapes for shape in scale]
    noise = {
        f"noise/group{k}": np.zeros((1, c, h, w), np.float32)
        for k, (h, w, c) in enumerate(shapes)
    }
    losses = {"nelbo_mean_kl_coeff0.55": 1.0, "total_wdn0.2": 2.0}
    arrays = {f"sd/{name}": tensor for name, tensor in state.items()} | noise
    arrays |= {f"stage1/{name}": value for name, value in losses.items()}
    arrays |= {"config": json.dumps(ARGS), "param_key_order": json.dumps(order)}
    arrays |= {"x": np.zeros((1, 3, 32, 32), np.float32), "eval/kl": 0}
    path = write(tmp_path, arrays)
    assert paths_with(tmp_path, *vae_fixture.VAE) == [path]
    golden = vae_fixture.Golden(path)
    test_vae.test_state_round_trip(golden)
    assert (golden.kl_coeff, golden.weight_decay) == ("0.55", "0.2")
    # A file whose encoder has the decoder's width is not this one.
    one_width = arrays | {"config": json.dumps(ARGS | {"num_channels_enc": 6})}
    with pytest.raises(ValueError, match=r"stem\.weight has shape"):
        vae_fixture.Golden(write(tmp_path, one_width))


def test_a_run_is_found_by_its_base(tmp_path):
    """Two variants of one base: the first. Networks of two data sets are no run."""
    config = {part: json.dumps({"dataset": "mnist"}) for part in ("vae", "dae")}
    base = {f"{part}_config": text for part, text in config.items()}
    np.savez(tmp_path / "weights.npz", **base)
    other = base | {"dae_config": json.dumps({"dataset": "cifar10"})}
    np.savez(tmp_path / "more weights.npz", **other)
    for name, weights in (("a", "weights"), ("b", "weights"), ("c", "more weights")):
        arrays = dict.fromkeys(test_import.VARIANT, 0)
        arrays["base_file"] = json.dumps(weights)
        np.savez(tmp_path / f"{name}.npz", **arrays)
    ((_, found),) = test_import.runs(tmp_path)
    assert found == (tmp_path / "weights.npz", tmp_path / "a.npz")
    with pytest.raises(FileNotFoundError, match=r"a\.npz: its base_file gone\.npz"):
        base_of(tmp_path / "a.npz", "gone")


@pytest.mark.slow
def test_every_fixture_is_compared_under_another_name(tmp_path):
    """As many tests are collected for the renamed set as for the set."""
    files = [path for path in golden_dir().glob("*.npz") if "cld" not in path.name]
    if not files:
        pytest.skip("no golden fixtures (set LSGM_GOLDEN_DIR)")
    folders = [tmp_path / "same", tmp_path / "renamed"]
    for folder in folders:
        folder.mkdir()
    names = {path.stem: f"x{i:02}" for i, path in enumerate(sorted(files))}
    for path in files:
        shutil.copy(path, folders[0])
        with np.load(path) as stored:
            arrays = dict(stored)
        if "base_file" in arrays:
            arrays["base_file"] = json.dumps(
                names[json.loads(str(arrays["base_file"]))]
            )
        np.savez(folders[1] / f"{names[path.stem]}.npz", **arrays)
    counts = [collected(folder) for folder in folders]
    assert counts[0] == counts[1] and len(counts[0]) > 200


def collected(folder):
    """Names of the tests that this folder of fixtures makes, files left out."""
    words = ["-m", "pytest", "--collect-only", "-q", "tests/golden"]
    done = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "LSGM_GOLDEN_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if "::" in line]
    return sorted(line.partition("[")[0] for line in lines)
