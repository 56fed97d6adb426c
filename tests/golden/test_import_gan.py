"""Published GANs, imported and restored, give the published numbers.

Files are made from the fixtures' state dictionaries, as PyTorch writes them; what is
compared has gone through a file, a config, and a checkpoint of ours.
"""

import argparse
import collections
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.interop import ddgan_names, ddgan_run
from lsgm.interop.torch_file import FileError
from lsgm.runs import exchange_gan
from lsgm.runs.restore import restore
from lsgm.samplers.posterior import sample_chain
from tests.conftest import golden_dir
from tests.golden.files import fixtures_with
from tests.golden.test_ncsnpp import assert_close, nhwc
from tests.interop import torch_bytes
from tests.small import QUICK

STEP = 321


def arrays(path):
    with np.load(path) as file:
        return dict(file)


def wrapped(found):
    return collections.OrderedDict(
        (f"module.{key.removeprefix('sd/')}", array)
        for key, array in found.items()
        if key.startswith("sd/")
    )


def args_of(found, **fields):
    config = json.loads(str(found["config"]))
    return config | dict(dataset="cifar10", r1_gamma=0.02, lazy_reg=15) | fields


@pytest.fixture(params=fixtures_with("zemb", "sampling/*"))
def generator(request):
    return arrays(request.param)


def save(path, content):
    path.write_bytes(torch_bytes.run(content, "zip"))
    return path


def check_samples(restored, found):
    """Those of the stored draws, with the parameters that ``sample`` uses."""
    prior = restored.model.prior
    denoise = functools.partial(prior.guess, restored.params)
    latents = jnp.asarray(found["sampling/latent_z"][::-1])
    noise = jnp.moveaxis(jnp.asarray(found["sampling/noise"][::-1]), 2, -1)
    run = jax.jit(
        functools.partial(sample_chain, prior.chain, denoise), compiler_options=QUICK
    )
    done = run(nhwc(found["sampling/x_init"]), latents, noise)
    assert_close(done.u, nhwc(found["sampling/out"]), 1e-4)


def test_generator_alone(generator, tmp_path):
    """As released: averaged weights and nothing else, arguments given beside."""
    path = save(tmp_path / "netG_1200.pth", wrapped(generator))
    with pytest.raises(FileError, match="no arguments.*--args"):
        ddgan_run.read(path)
    run = ddgan_run.read(path, args_of(generator))
    exchange_gan.import_gan(run, path, tmp_path / "workdir")
    restored = restore(tmp_path / "workdir")
    check_samples(restored, generator)
    assert restored.model.prior.r1.gamma == pytest.approx(0.02 / 15)
    back = ddgan_names.write_generator(restored.params["generator"])
    for name, tensor in wrapped(generator).items():
        np.testing.assert_array_equal(back[name.removeprefix("module.")], tensor)


@pytest.mark.slow
def test_last_checkpoint_has_both_networks_and_the_averages(tmp_path):
    path = golden_dir() / "ddgan_disc_small.npz"
    if not path.exists():
        pytest.skip("no golden fixtures (set LSGM_GOLDEN_DIR)")
    judge = arrays(path)
    found = arrays(golden_dir() / f"{json.loads(str(judge['generator_file']))}.npz")
    averaged, raw = wrapped(found), wrapped(found)
    for name in raw:
        raw[name] = raw[name] + np.float32(0.5)
    numbered = {i: {"step": 1, "ema": v} for i, v in enumerate(averaged.values())}
    own = json.loads(str(judge["config"]))
    content = {
        "epoch": 3,
        "global_step": STEP,
        "args": argparse.Namespace(**args_of(found, ngf=own["ngf"])),
        "netG_dict": raw,
        "optimizerG": {
            "state": numbered,
            "param_groups": [{"lr": 1e-4, "params": list(numbered)}],
        },
        "netD_dict": wrapped(judge),
    }
    file = save(tmp_path / "content.pth", content)
    exchange_gan.import_gan(ddgan_run.read(file), file, tmp_path / "workdir")
    restored = restore(tmp_path / "workdir")
    assert (restored.stage, restored.step) == ("prior", STEP)
    check_samples(restored, found)
    logits = restored.model.prior.discriminator.apply(
        {"params": restored.params["discriminator"]},
        *(nhwc(judge[key]) for key in ("x_t", "x_tp1")),
        jnp.asarray(judge["t"], jnp.int32) + 1,
        train=False,
    )
    assert_close(logits, judge["D_real"])


def test_nothing_is_written_of_a_file_that_does_not_fit(generator, tmp_path):
    state = wrapped(generator)
    state["module.surplus"] = np.zeros(3, np.float32)
    path = save(tmp_path / "netG.pth", state)
    run = ddgan_run.read(path, args_of(generator))
    with pytest.raises(ValueError, match="surplus"):
        exchange_gan.import_gan(run, path, tmp_path / "workdir")
    assert not (tmp_path / "workdir").exists()
    with pytest.raises(ValueError, match="lack.*nz"):
        args = args_of(generator)
        del args["nz"]
        exchange_gan.import_gan(ddgan_run.read(path, args), path, tmp_path / "workdir")


def test_files_of_other_systems_are_left_to_others(tmp_path):
    other = collections.OrderedDict(weight=np.zeros(3, np.float32))
    assert ddgan_run.read(save(tmp_path / "other.pth", other)) is None
