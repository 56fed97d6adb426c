"""The score network against the published one, on its weights.

Every file holds one network; what is tested of it follows from its ``config`` and
from the arrays that it stores.
"""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from lsgm import config as configs
from lsgm.interop import ncsnpp_names
from lsgm.networks.layers import KERNELS, SCALES
from lsgm.objectives.score_matching import mixed_residual
from tests.golden.files import fixtures_with
from tests.golden.test_sde import make_sde

# As a fraction of the largest value; float32 against float64 is 1e-6.
OUTPUTS = 2e-5
# The compiler takes longer than all runs of what it compiles.
QUICK = {"xla_backend_optimization_level": 0}


def nhwc(array):
    return jnp.asarray(np.moveaxis(array, 1, -1))


class Fixture:
    """The network that a file's config describes, with the file's weights."""

    def __init__(self, path):
        with np.load(path) as arrays:
            self.arrays = dict(arrays)
        self.config = self.json("config")
        multipliers = self.config.get("channel_mult")
        if multipliers is None:
            multipliers = ncsnpp_names.channel_mult(self.config)
        piece = ncsnpp_names.network_piece(self.config, tuple(multipliers))
        if "attn_resolutions" in self.config:
            piece["attention_resolutions"] = tuple(self.config["attn_resolutions"])
        self.network = configs.build(piece)
        names = [key for key in self.arrays if key.startswith("sd/")]
        self.state = {key.removeprefix("sd/"): self.arrays[key] for key in names}
        self.z = nhwc(self.arrays["z"])
        # One time may serve for the batch.
        t = jnp.atleast_1d(jnp.asarray(self.arrays["t"]))
        self.t = jnp.broadcast_to(t, len(self.z))
        tree = ncsnpp_names.read(self.state, self.template, fir=self.network.fir)
        self.params = jax.tree.map(jnp.asarray, tree)

    def json(self, key):
        return json.loads(str(self.arrays[key]))

    @property
    def template(self):
        """Shapes of what ``read`` returns."""
        init = functools.partial(self.network.init, train=False)
        network = jax.eval_shape(init, jax.random.key(0), self.z, self.t)["params"]
        mixed = self.config["mixed_prediction"]
        logit = {"mixing_logit": np.zeros(self.z.shape[-1])} if mixed else {}
        return {"network": network, **logit}

    @functools.cached_property
    def names(self):
        """Published names by path in our tree."""
        found = ncsnpp_names.entries(self.params, fir=self.network.fir)
        return {entry.path: entry.name for entry in found}

    @functools.cached_property
    def run(self):
        """(network parameters, u, t) -> output, gradients of sum(output * vjp_w)."""

        def run(network, u, t):
            def weighted(network, u):
                raw = self.network.apply({"params": network}, u, t, train=False)
                return jnp.sum(raw * nhwc(self.arrays["vjp_w"])), raw

            gradients, raw = jax.grad(weighted, (0, 1), has_aux=True)(network, u)
            return raw, gradients

        return jax.jit(run, compiler_options=QUICK)

    def raw(self, u, t):
        return self.run(self.params["network"], u, t)[0]

    @functools.cached_property
    def gradients(self):
        return self.run(self.params["network"], self.z, self.t)[1]

    def sdes(self):
        """Name and process of every SDE that the file has numbers for."""
        for key in self.arrays:
            name, _, what = key.partition("/")
            if what == "sde_config":
                yield name, make_sde(self.json(key))


@functools.cache
def load(path):
    return Fixture(path)


@pytest.fixture(params=fixtures_with("z", "raw", "vjp_w"))
def fixture(request):
    return load(request.param)


def assert_close(ours, theirs, relative=OUTPUTS):
    """Largest error below ``relative`` times the largest value."""
    assert ours.shape == theirs.shape
    error = np.abs(np.asarray(ours) - theirs).max()
    assert error < relative * np.abs(theirs).max(), error / np.abs(theirs).max()


def test_output(fixture):
    assert_close(fixture.raw(fixture.z, fixture.t), nhwc(fixture.arrays["raw"]))


def test_masked_input(fixture):
    if "is_active" not in fixture.arrays:
        pytest.skip("the file has no mask")
    active = jnp.asarray(fixture.arrays["is_active"]).reshape(-1)[None, None, None]
    expected = nhwc(fixture.arrays["raw_with_is_active"])
    assert_close(fixture.raw(fixture.z * active, fixture.t), expected)


def test_time_features(fixture):
    embedding = fixture.network.embedding
    own = fixture.params["network"].get("embedding", {})
    grid = jnp.linspace(0, 1, len(fixture.arrays["temb_at_t_grid"]))
    for t, key in ((fixture.t, "temb_fun_out"), (grid, "temb_at_t_grid")):
        # Phases reach 1000, where one float32 step is 6e-5.
        ours, theirs = embedding.apply({"params": own}, t), fixture.arrays[key]
        theirs = np.broadcast_to(theirs, ours.shape)
        np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_mixed_prediction_and_probability_flow(fixture):
    logit = fixture.params.get("mixing_logit")
    for name, sde in fixture.sdes():
        stored = {
            key.removeprefix(f"{name}/"): nhwc(array)
            for key, array in fixture.arrays.items()
            if key.startswith(f"{name}/") and array.ndim == 4
        }
        normal = sde.normal_eps(fixture.z, fixture.t)
        if "mixing_component" in stored:
            assert_close(normal, stored["mixing_component"], 1e-4)
        if "mixed" in stored:
            raw = fixture.raw(fixture.z, fixture.t)
            residual = mixed_residual(sde, raw, fixture.z, fixture.t, logit)
            assert_close(normal + residual, stored["mixed"], 1e-4)
        for i, time in enumerate(np.atleast_1d(fixture.arrays["t_scalar"])):
            t = jnp.full(fixture.t.shape, time)
            raw = fixture.raw(fixture.z, t)
            residual = mixed_residual(sde, raw, fixture.z, t, logit)
            velocity = sde.probability_flow(fixture.z, t, residual)
            assert_close(velocity, stored[f"dxdt_{i}"], 1e-4)


def test_gradient_of_input(fixture):
    expected = nhwc(fixture.arrays["vjp_dz"])
    assert_close(fixture.gradients[1], expected, 1e-4)


def test_gradient_norms(fixture):
    names = fixture.json("vjp_grad_names")
    expected = dict(zip(names, fixture.arrays["vjp_grad_norms"], strict=True))
    gradients = flatten_dict({"network": fixture.gradients[0]})
    ours = {fixture.names[p]: np.linalg.norm(g) for p, g in gradients.items()}
    fixed = ours.pop("temb_fun.w", 0.0)
    assert fixed == 0
    assert ours.keys() == expected.keys()
    total = np.linalg.norm(list(expected.values()))
    for name, norm in expected.items():
        np.testing.assert_allclose(ours[name], norm, rtol=1e-4, atol=1e-6 * total)


def test_what_is_regularised(fixture):
    """The convolutions and norms that the network makes known are the published."""
    _, sown = jax.eval_shape(
        lambda network: fixture.network.apply(
            {"params": network},
            fixture.z,
            fixture.t,
            train=True,
            rngs={"dropout": jax.random.key(0)},
            mutable=[KERNELS, SCALES],
        ),
        fixture.params["network"],
    )
    groups = fixture.json("sr/groups")
    published = {
        KERNELS: {layer for group in groups for layer in group["layers"]},
        SCALES: set(fixture.json("sr/bn_layers")),
    }
    for collection, layers in published.items():
        paths = flatten_dict({"network": sown[collection]})
        names = {fixture.names[path].removesuffix(".weight") for path in paths}
        assert names == layers


def test_state_dict_survives_the_round_trip(fixture):
    back = ncsnpp_names.write(fixture.params, fir=fixture.network.fir)
    expected = fixture.json("sd_key_order")
    assert sorted(back) == sorted(expected)
    parameters = [name for name in expected if name != "temb_fun.w"]
    assert [name for name in back if name in parameters] == parameters
    for name, tensor in fixture.state.items():
        np.testing.assert_array_equal(back[name], tensor)


def test_multipliers_follow_from_the_data_set(fixture):
    ours = ncsnpp_names.channel_mult(fixture.config)
    assert ours == tuple(fixture.config.get("channel_mult", ours))
