"""The score network against the published one, on its weights."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm import config as configs
from lsgm.interop import ncsnpp_names
from tests.conftest import golden_files

FILES = golden_files("ncsnpp_*.npz")


def nhwc(array):
    return jnp.asarray(np.moveaxis(array, 1, -1))


class Fixture:
    """One file: the network that its config describes, with its weights."""

    def __init__(self, path):
        self.arrays = np.load(path)
        self.config = json.loads(str(self["config"]))
        piece = ncsnpp_names.network_piece(
            self.config, tuple(self.config["channel_mult"])
        )
        piece["attention_resolutions"] = tuple(self.config["attn_resolutions"])
        self.network = configs.build(piece)
        self.state = {k[3:]: self[k] for k in self.arrays.files if k.startswith("sd/")}
        self.params = ncsnpp_names.read(
            self.state, self.template(), fir=self.network.fir
        )

    def __getitem__(self, key):
        return self.arrays[key]

    def __contains__(self, key):
        return key in self.arrays.files

    def template(self):
        """Shapes of what ``read`` returns."""
        u, t = nhwc(self["z"]), self["t"]
        init = functools.partial(self.network.init, train=False)
        network = jax.eval_shape(init, jax.random.key(0), u, t)["params"]
        logit = np.zeros(u.shape[-1:])
        mixed = {"mixing_logit": logit} if self.config["mixed_prediction"] else {}
        return {"network": network, **mixed}

    @functools.cached_property
    def apply(self):
        def apply(params, u, t):
            return self.network.apply({"params": params["network"]}, u, t, train=False)

        return jax.jit(apply)

    def raw(self, u, t):
        return self.apply(self.params, u, t)


@pytest.fixture(scope="module", params=FILES)
def fixture(request):
    return Fixture(request.param)


def assert_close(ours, theirs, relative=2e-5):
    """Maximal error below ``relative`` times the maximal value."""
    error = np.abs(np.asarray(ours) - theirs).max()
    assert error < relative * np.abs(theirs).max()


def test_raw(fixture):
    assert_close(fixture.raw(nhwc(fixture["z"]), fixture["t"]), nhwc(fixture["raw"]))
