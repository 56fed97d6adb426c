"""Published runs of CLD: files, arguments, configs, and the whole way in."""

import collections
import functools

import jax
import numpy as np
import pytest

from lsgm.config import build
from lsgm.interop import cld_args, cld_config, files, ncsnpp_names
from lsgm.interop.files import FileError
from lsgm.runs import exchange
from lsgm.runs.restore import restore
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.sdes.cld import CLD
from tests.interop import torch_bytes

TEXT = """
# Data
image_size = 8
image_channels = 3
is_image = True

# Process
sde = cld
beta_type = linear
beta0 = 0.1
beta1 = 6.9
m_inv = 4.0
gamma = 0.04
numerical_eps = 1e-6
cld_objective = hsm
weighting = reweightedv2
mixed_score = True
loss_eps = 1e-3
sampling_rtol = 1e-3
sampling_atol = 1e-3
sampling_eps = 1e-3

# Network
name = ncsnpp
n_channels = 8
ch_mult = 1,1
n_resblocks = 1
attn_resolutions = 4
use_fir = True
dropout = 0.1
embedding_type = fourier
fourier_scale = 16
progressive = none
progressive_input = residual
progressive_combine = sum
"""
STEP = 800


def args(tmp_path, text=TEXT, more=""):
    paths = [tmp_path / "default.txt", tmp_path / "specific.txt"]
    for path, content in zip(paths, (text, more), strict=True):
        path.write_text(content)
    return cld_config.read_args(paths)


@functools.cache
def state(embedding="fourier"):
    """A state dictionary with all of its tensors different, and the tree it is of."""
    found = cld_config.parse_text(TEXT, "text") | {"embedding_type": embedding}
    prior = build(cld_config.prior_piece(found))
    shapes = jax.eval_shape(lambda: prior.init(jax.random.key(0), (8, 8, 3)))[0]
    rng = np.random.default_rng(0)
    tree = jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes["prior"]
    )
    return ncsnpp_names.write(tree, fir=True, numbered=True), tree


def content(embedding="fourier"):
    """Of a checkpoint: wrapped names, averages by order without fixed frequencies."""
    tensors, _ = state(embedding)
    wrapped = {f"module.{name}": x for name, x in tensors.items()}
    trained = [2 * x for name, x in tensors.items() if name != "all_modules.0.W"]
    return {
        "optimizer": {"state": {}, "param_groups": []},
        "model": collections.OrderedDict(wrapped),
        "ema": {"decay": 0.9999, "num_updates": STEP, "shadow_params": trained},
        "step": STEP,
    }


def saved(tmp_path, content):
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(torch_bytes.run(content, "zip"))
    return path


@pytest.mark.parametrize("embedding", ["fourier", "positional"])
def test_file_has_weights_and_averages_by_name(tmp_path, embedding):
    found = files.read(saved(tmp_path, content(embedding)), {"some": 1})
    assert found.vae is None and found.step == STEP
    tensors, _ = state(embedding)
    assert found.prior.keys() == found.average.keys() == tensors.keys()
    for name, tensor in tensors.items():
        factor = 1 if name == "all_modules.0.W" else 2
        np.testing.assert_array_equal(found.prior[name], tensor)
        np.testing.assert_array_equal(found.average[name], factor * tensor)


def test_averages_that_do_not_fit_are_refused(tmp_path):
    for averages, words in (
        (lambda a: a[:-1], "averages for .* trained parameters"),
        (lambda a: [a[1], a[0], *a[2:]], "average of all_modules.1.weight has shape"),
        (None, "its ema has no shadow_params"),
    ):
        wrong = content()
        shadow = wrong["ema"].pop("shadow_params")
        if averages is not None:
            wrong["ema"]["shadow_params"] = averages(shadow)
        with pytest.raises(FileError, match=words):
            files.read(saved(tmp_path, wrong), {"some": 1})


def test_files_without_arguments_ask_for_them(tmp_path):
    with pytest.raises(FileError, match="no arguments of the run"):
        files.read(saved(tmp_path, content()))


def test_arguments_are_read_from_text(tmp_path):
    found = args(tmp_path, more="dropout = 0.3\n--use_fir=false\n[section]\n")
    assert found["dropout"] == 0.3 and found["use_fir"] is False
    assert found["ch_mult"] == "1,1" and found["numerical_eps"] == 1e-6
    with pytest.raises(FileError, match=r"specific.txt, line 1: 'dropout 0.3' is no"):
        args(tmp_path, more="dropout 0.3")


def test_prior_is_what_the_arguments_say(tmp_path):
    prior = build(cld_config.prior_piece(args(tmp_path)))
    assert prior.sde == CLD(beta_0=0.1, beta_1=7.0, added_var=1e-6)
    assert prior.base_added and prior.hybrid and not prior.mixed
    assert prior.sampler == ProbabilityFlow(
        rtol=1e-3, atol=1e-3, t_end=1e-3, denoise="drift"
    )
    network = prior.network
    assert (network.out_channels, network.time_channels) == (3, 32)
    assert network.attention_resolutions == (4,) and network.embedding.log_time


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weighting": "v2"}, "weighting = 'v2': allowed are likelihood"),
        ({"cld_objective": "x"}, "cld_objective = 'x': allowed are hsm, dsm"),
        ({"embedding_type": "x"}, "embedding_type = 'x': allowed are fourier"),
        ({"resblock_type": "ddpm"}, "resblock_type = 'ddpm': known is 'biggan'"),
        ({"sde": "vpsde"}, "sde = 'vpsde': known is 'cld'"),
        ({"gamma": None}, "arguments of the run lack gamma"),
    ],
)
def test_what_is_not_known_is_refused_by_name(tmp_path, change, words):
    given = args(tmp_path) | change
    given = {name: value for name, value in given.items() if value is not None}
    with pytest.raises(ValueError, match=words):
        cld_config.config_of(given, STEP)


def test_import_accounts_for_every_tensor(tmp_path):
    """Restored: the averages, or the raw weights when asked for."""
    path, given = saved(tmp_path, content()), args(tmp_path)
    folder = exchange.import_file(path, tmp_path / "run", given)
    assert folder.name == "prior"
    for average, factor in ((True, 2), (False, 1)):
        restored = restore(tmp_path / "run", average=average)
        back = ncsnpp_names.write(restored.params["prior"], fir=True, numbered=True)
        for name, tensor in state()[0].items():
            kept = 1 if name == "all_modules.0.W" else factor
            np.testing.assert_array_equal(back[name], kept * tensor)
    assert restored.step == STEP and restored.model.prior.sde.added_var == 1e-6


def test_a_tensor_too_many_stops_the_import(tmp_path):
    wrong = content()
    wrong["model"]["module.all_modules.99.weight"] = np.ones(3, np.float32)
    wrong["ema"]["shadow_params"].append(np.ones(3, np.float32))
    with pytest.raises(ValueError, match=r"all_modules\.99\.weight"):
        exchange.import_file(saved(tmp_path, wrong), tmp_path / "run", args(tmp_path))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@pytest.mark.parametrize("embedding", ["fourier", "positional"])
def test_exported_file_is_the_imported_one(tmp_path, embedding, suffix):
    """The averages, under published names, and the arguments; and in once more."""
    given = args(tmp_path) | {"embedding_type": embedding}
    path = saved(tmp_path, content(embedding))
    exchange.import_file(path, tmp_path / "run", given)
    out = tmp_path / f"out.{suffix}"
    exchange.export_file(restore(tmp_path / "run"), out)
    back = files.read(out)
    assert (back.vae, back.step) == (None, STEP)
    stated = {name: value for name, value in given.items() if name != "is_image"}
    differing = {n: (v, back.args.get(n)) for n, v in stated.items()}
    assert not {n: p for n, p in differing.items() if not same(*p)}
    expected = files.read(path, given).average
    assert list(back.prior) == list(expected) or suffix == "safetensors"
    assert back.prior.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(back.prior[name], tensor)
    exchange.import_file(out, tmp_path / "again")
    first, second = (restore(tmp_path / name) for name in ("run", "again"))
    assert first.model.prior == second.model.prior
    jax.tree.map(np.testing.assert_array_equal, first.params, second.params)


def same(ours, theirs):
    if isinstance(ours, float) and isinstance(theirs, float):
        return ours == pytest.approx(theirs, rel=1e-12)
    # A list of one number is read from text as that number.
    return ours == theirs or str(ours) == theirs


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mixed": True, "base_added": False}, "prior.mixed = True"),
        ({"sde": {"target": "lsgm.sdes.vpsde:VPSDE"}}, "prior.sde = VPSDE.*CLD"),
        (
            {"weighting": {"target": "lsgm.objectives.weighting:Rescaled"}},
            "prior.weighting = Rescaled",
        ),
    ],
)
def test_what_has_no_published_argument_is_named(tmp_path, change, words):
    config = cld_config.config_of(args(tmp_path), STEP)
    prior = build(cld_config.prior_piece(args(tmp_path)) | change)
    with pytest.raises(ValueError, match=words):
        cld_args.args_of(build(config["vae"]), prior)


def test_masked_channels_are_not_exported(tmp_path):
    exchange.import_file(saved(tmp_path, content()), tmp_path / "run", args(tmp_path))
    found = restore(tmp_path / "run")
    mask = {"active": np.array([1.0, 0.0, 1.0])}
    hidden = found._replace(mutables={**found.mutables, "prior": mask})
    with pytest.raises(ValueError, match="1 channels are masked"):
        exchange.published_of(hidden)
