"""Import and export: all or nothing, the right weights, nothing lost on the way."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.config import build
from lsgm.interop import files, published_args
from lsgm.interop.nvae_args import vae_of
from lsgm.interop.published_config import prior_piece
from lsgm.networks.conv import ConvVAE
from lsgm.runs import exchange, experiment
from lsgm.runs.measure import subject_of
from lsgm.runs.restore import restore
from lsgm.runs.workdir import WorkdirError
from lsgm.vae import VAE
from tests.interop.published_run import ARGS, STEP, run

QUICK = {"xla_backend_optimization_level": 0}


def imported(run, tmp_path, name="run.npz"):
    """The run, by way of a file and a workdir."""
    files.write(tmp_path / name, run)
    exchange.import_file(tmp_path / name, tmp_path / "workdir")
    return restore(tmp_path / "workdir")


def leaf(tree):
    return np.asarray(tree["prior"]["network"]["time_0"]["bias"])


@pytest.fixture
def averaging(monkeypatch):
    """A file with raw and averaged weights, without PyTorch to read it with."""
    average = {name: 2 * tensor for name, tensor in run().prior.items()}
    monkeypatch.setattr(files, "read", lambda *_, **__: run()._replace(average=average))


def test_averages_are_taken_where_there_are_some(averaging, tmp_path):
    (tmp_path / "checkpoint.pt").touch()
    exchange.import_file(tmp_path / "checkpoint.pt", tmp_path / "workdir")
    bias = run().prior["all_modules.0.bias"]
    restored = restore(tmp_path / "workdir")
    np.testing.assert_array_equal(leaf(restored.params), 2 * bias)
    raw = restore(tmp_path / "workdir", average=False)
    np.testing.assert_array_equal(leaf(raw.params), bias)
    cards = [subject_of(r, seed=0).card["parameters"] for r in (restored, raw)]
    assert cards == ["averaged", "raw"]


def test_weights_that_were_averaged_before_are_called_so(tmp_path):
    restored = imported(run(), tmp_path)
    np.testing.assert_array_equal(
        leaf(restored.params), run().prior["all_modules.0.bias"]
    )
    assert subject_of(restored, seed=0).card["parameters"] == "averaged"
    assert restored.meta["imported"]["args"] == ARGS
    assert (restored.stage, restored.step) == ("lsgm", STEP)
    config = json.loads((tmp_path / "workdir" / "config.json").read_text())
    assert experiment.described(config) == restored.experiment


@pytest.mark.parametrize(
    "part, change, words",
    [
        ("vae", lambda s: s.pop("stem.bias"), r"missing: stem\.bias"),
        ("prior", lambda s: s.pop("mixing_logit"), "missing: mixing_logit"),
        ("prior", lambda s: s.update(new=np.zeros(2)), "surplus: new"),
        (
            "prior",
            lambda s: s.update(mixing_logit=np.zeros((1, 3, 1, 1))),
            r"mixing_logit has shape \(1, 3, 1, 1\), expected \(1, 4, 1, 1\)",
        ),
        ("args", lambda a: a.pop("sde_type"), "lack sde_type"),
        ("args", lambda a: a.update(sde_type="ou"), "sde_type = 'ou'.*vesde"),
        ("args", lambda a: a.update(iw_sample_p="iw"), "no published objective"),
    ],
)
def test_nothing_is_written_of_what_does_not_fit(part, change, words, tmp_path):
    changed = dict(getattr(run(), part))
    change(changed)
    with pytest.raises(ValueError, match=words):
        imported(run()._replace(**{part: changed}), tmp_path)
    assert not (tmp_path / "workdir").exists()


def test_a_workdir_that_holds_something_is_refused(tmp_path):
    (tmp_path / "workdir").mkdir()
    (tmp_path / "workdir" / "notes.txt").touch()
    with pytest.raises(WorkdirError, match="not empty"):
        imported(run(), tmp_path)


def test_exported_file_is_the_imported_one(tmp_path):
    restored = imported(run(), tmp_path)
    exchange.export_file(restored, tmp_path / "out.safetensors")
    back = files.read(tmp_path / "out.safetensors")
    assert (back.args, back.step) == (ARGS, STEP)
    for ours, theirs in ((back.vae, run().vae), (back.prior, run().prior)):
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])


def test_hidden_channels_stay_hidden_in_an_export(tmp_path):
    """The exported network ignores what ours masks, and predicts the same."""
    restored = imported(run(), tmp_path)
    prior, params = restored.model.prior, restored.params
    mask = {"active": jnp.array([1.0, 0.0, 1.0, 0.0])}
    hidden = restored._replace(mutables={**restored.mutables, "prior": mask})
    state = exchange.state_of(restored.model, exchange.published_of(hidden))
    u = jax.random.normal(jax.random.key(0), (2, 8, 8, 4))

    @functools.partial(jax.jit, compiler_options=QUICK)
    def predict(params, mutables):
        return prior.residual_fn(params, mutables)(u, jnp.array([0.1, 0.9]))

    expected = predict(params, hidden.mutables)
    found = predict(state.params, state.mutables)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    unmasked = predict(params, restored.mutables)
    assert not np.allclose(unmasked, expected, rtol=1e-2)


class TestArguments:
    """What the published code cannot express is named."""

    def prior(self, **network):
        piece = prior_piece(ARGS)
        return build({**piece, "network": {**piece["network"], **network}})

    @pytest.mark.parametrize(
        "network, words",
        [
            ({"attention_resolutions": (8, 16)}, "attention_resolutions"),
            ({"channel_mult": (1, 2)}, r"channel_mult = \(1, 2\).*mnist or omniglot"),
            ({"time_channels": 24}, "prior.network.time_channels = 24.*32"),
            ({"out_channels": 4}, "prior.network.out_channels = 4"),
        ],
    )
    def test_of_the_network(self, network, words):
        with pytest.raises(ValueError, match=words):
            published_args.args_of(vae_of(ARGS), self.prior(**network))

    def test_of_the_process(self):
        power = {"target": "lsgm.sdes.power:PowerVPSDE", "power": 2}
        prior = build({**prior_piece(ARGS), "sde": power})
        with pytest.raises(ValueError, match="prior.sde = PowerVPSDE.*published are"):
            published_args.args_of(vae_of(ARGS), prior)

    def test_of_the_vae(self):
        network = ConvVAE(channels=(4,), latent_channels=1, num_outputs=1)
        vae = vae_of(ARGS)
        other = VAE(network=network, likelihood=vae.likelihood, data_shape=(28, 28, 1))
        with pytest.raises(ValueError, match="ConvVAE"):
            published_args.args_of(other, None)

    def test_widths_of_the_halves(self):
        """The decoder's is kept, also where it repeats the encoder's."""
        vae = vae_of(ARGS)
        assert published_args.args_of(vae, None)["num_channels_dec"] == 6
        same = vae.network.clone(base_channels_decoder=vae.network.base_channels)
        same = dataclasses.replace(vae, network=same)
        assert published_args.args_of(same, None)["num_channels_dec"] == 4

    def test_data_set_follows_from_the_network(self):
        args = ARGS | dict(num_scales_dae=3, dataset="omniglot")
        found = published_args.args_of(vae_of(ARGS), build(prior_piece(args)))
        assert found["dataset"] == "omniglot"
