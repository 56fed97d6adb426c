"""The NVAE: its dependencies, its modes, its flows, the values it refuses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.networks.initialize import initialize
from lsgm.networks.nvae import NVAE
from lsgm.networks.nvae_cells import ResidualCell
from lsgm.networks.nvae_flows import AutoregressiveShift, Flow
from lsgm.networks.resample import bilinear_up, nearest_up

SMALL = dict(
    base_channels=4,
    channel_mult=(1, 1, 2),
    num_scales=2,
    base_channels_decoder=6,
    groups_per_scale=1,
    latents_per_group=2,
    num_outputs=2,
    cell="res_mbconv",
    num_flows=1,
    input_skip=True,
    preprocess_cells=1,
    postprocess_cells=1,
)
FLAT = SMALL | dict(
    channel_mult=(1, 1),
    num_scales=1,
    num_flows=0,
    input_skip=False,
)


def inputs(network, size, batch=1):
    rng = np.random.default_rng(0)
    image_shape = (size, size, 3)
    shapes = [s for scale in network.latent_shapes(image_shape) for s in scale]
    x = rng.uniform(-1, 1, (batch, *image_shape))
    noise = [rng.standard_normal((batch, *s)) for s in shapes]
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (x, tuple(noise)))


class Small:
    """A two-scale network with everything in it, on 8 x 8 images, compiled once."""

    def __init__(self):
        self.network = NVAE(**SMALL)
        self.x, self.noise = inputs(self.network, 8, batch=2)
        self.variables = initialize(
            self.network,
            jax.random.key(7),
            self.x,
            self.noise,
            train=False,
            collections=("params", "batch_stats"),
        )
        apply = functools.partial(self.network.apply, self.variables, train=False)
        self.run = jax.jit(apply)
        self.decode = jax.jit(functools.partial(apply, method="decode"))


@pytest.fixture(scope="module")
def small():
    return Small()


class TestDependencies:
    def test_latent_shapes_are_what_comes_out(self, small):
        z, log_q, out = small.run(small.x, small.noise)
        expected = [
            s for scale in small.network.latent_shapes((8, 8, 3)) for s in scale
        ]
        assert [a.shape[1:] for a in z] == expected
        assert [a.shape[1:] for a in log_q] == expected
        assert out.shape == (2, 8, 8, 2)

    def test_decode_of_the_latents_is_the_output(self, small):
        z, _, out = small.run(small.x, small.noise)
        np.testing.assert_allclose(small.decode(z), out, rtol=1e-5, atol=1e-6)

    def test_later_noise_does_not_reach_earlier_groups(self, small):
        z, log_q, _ = small.run(small.x, small.noise)
        other = (small.noise[0], small.noise[1] + 1)
        z_other, log_q_other, _ = small.run(small.x, other)
        np.testing.assert_array_equal(z[0], z_other[0])
        np.testing.assert_array_equal(log_q[0], log_q_other[0])
        assert np.abs(z[1] - z_other[1]).max() > 0.1

    def test_earlier_latents_reach_later_posteriors(self, small):
        """q(z_2 | z_1, x): log q at the same noise says the deviation moved."""
        _, log_q, _ = small.run(small.x, small.noise)
        _, other, _ = small.run(small.x, (small.noise[0] + 1, small.noise[1]))
        assert np.abs(log_q[1] - other[1]).max() > 1e-6

    def test_log_q_is_that_of_the_noise(self, small):
        """log q(noise) - log q(0) = -noise^2 / 2: flows have no log det."""
        still = (jnp.zeros_like(small.noise[0]), small.noise[1])
        _, log_q, _ = small.run(small.x, small.noise)
        _, at_mean, _ = small.run(small.x, still)
        np.testing.assert_allclose(
            log_q[0] - at_mean[0], -0.5 * small.noise[0] ** 2, atol=1e-5
        )

    def test_examples_are_independent_in_evaluation(self, small):
        z, _, out = small.run(small.x, small.noise)
        first = tuple(n[:1] for n in small.noise)
        z_one, _, out_one = small.run(small.x[:1], first)
        np.testing.assert_allclose(out_one, out[:1], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(z_one[1], z[1][:1], rtol=1e-5, atol=1e-6)


def test_the_decoder_has_a_width_of_its_own(small):
    """Every kernel of each half in multiples of that half's base."""
    params = small.variables["params"]
    kept = {
        params["encoder"][name]["op_1"]["conv"]["bias"].size
        for name in params["encoder"]
        if name.startswith("tower")
    }
    assert kept == {4, 8}
    assert params["decoder"]["start"].shape == (2, 2, 12)
    assert params["decoder"]["head"]["kernel"].shape == (3, 3, 6, 2)
    # The encoder's map, to which a 1x1 convolution of the decoder's is added.
    combiner = params["decoder"]["posterior_1"]["combiner"]["kernel"]
    assert combiner.shape == (1, 1, 6, 4)


def test_one_width_is_the_default():
    network = NVAE(**SMALL | {"base_channels_decoder": None})
    assert network.decoder_channels == network.base_channels == 4
    same = NVAE(**SMALL | {"base_channels_decoder": 4})
    assert same.decoder_steps() == network.decoder_steps()


def train_pass(network, variables, x, noise):
    (z, log_q, out), state = network.apply(
        variables, x, noise, train=True, mutable=["batch_stats"]
    )
    return z, log_q, out, state["batch_stats"]


def flat_network():
    network = NVAE(**FLAT)
    x, noise = inputs(network, 4, batch=4)
    variables = initialize(
        network,
        jax.random.key(1),
        x,
        noise,
        train=False,
        collections=("params", "batch_stats"),
    )
    return network, variables, x, noise


def assert_trees_close(ours, theirs, rtol, atol):
    close = functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol)
    jax.tree.map(close, ours, theirs)


@pytest.mark.slow
def test_rematerialisation_changes_nothing():
    """Same variables, losses, statistics, and gradients."""
    network, variables, x, noise = flat_network()

    def gradient(network):
        def loss(params):
            z, log_q, out, stats = train_pass(
                network, variables | {"params": params}, x, noise
            )
            return jnp.mean(out**2) + jnp.mean(log_q[0]), stats

        return jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])

    plain, saved = gradient(network), gradient(network.clone(remat=True))
    assert_trees_close(saved, plain, rtol=1e-4, atol=1e-6)


def test_two_devices_equal_one():
    """Batch statistics are those of the whole batch."""
    network, variables, x, noise = flat_network()
    parts = jax.tree.map(lambda a: a.reshape(2, 2, *a.shape[1:]), (x, noise))
    mapped = jax.pmap(
        functools.partial(train_pass, network.clone(axis_name="batch"), variables),
        axis_name="batch",
        out_axes=(0, 0, 0, None),
    )
    z, log_q, out, stats = mapped(*parts)
    expected = jax.jit(functools.partial(train_pass, network, variables))(x, noise)
    merged = jax.tree.map(lambda a: a.reshape(4, *a.shape[2:]), (z, log_q, out))
    assert_trees_close((*merged, stats), expected, rtol=1e-4, atol=1e-5)


def test_half_precision_keeps_latents_and_outputs_in_fp32():
    network, variables, x, noise = flat_network()
    half = network.clone(dtype=jnp.bfloat16)
    shapes = jax.eval_shape(
        functools.partial(half.apply, variables, train=False), x, noise
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}


class TestFlow:
    """Eq. (1) of the flows: triangular Jacobian, ones on the diagonal."""

    def jacobian(self, module):
        # Two pixels wide: the last pixel of a row is within the next one's sight.
        z = jnp.sin(jnp.arange(16.0) ** 2).reshape(1, 4, 2, 2)
        params = module.init(jax.random.key(1), z)
        n = z.size
        jac = jax.jit(jax.jacrev(functools.partial(module.apply, params)))(z)
        return np.asarray(jac).reshape(n, n)

    def test_forward_is_triangular_in_raster_order(self):
        jac = self.jacobian(AutoregressiveShift())
        np.testing.assert_allclose(np.triu(jac), np.eye(len(jac)), atol=1e-7)
        assert np.all(np.diag(jac, -1) != 0)

    def test_backward_reverses_pixels_and_keeps_channels(self):
        jac = self.jacobian(AutoregressiveShift(reverse=True))
        order = np.arange(len(jac)).reshape(-1, 2)[::-1].reshape(-1)
        ordered = jac[order][:, order]
        np.testing.assert_allclose(np.triu(ordered), np.eye(len(jac)), atol=1e-7)
        assert np.all(np.diag(ordered, -1) != 0)

    def test_volume_is_preserved(self):
        sign, log_det = np.linalg.slogdet(self.jacobian(Flow()))
        assert sign == 1
        np.testing.assert_allclose(log_det, 0, atol=1e-4)


class TestResolution:
    def test_bilinear_keeps_corners_and_ramps(self):
        ramp = jnp.arange(4.0)[None, :, None, None] * jnp.ones((1, 1, 3, 1))
        up = bilinear_up(ramp)
        np.testing.assert_allclose(up[0, :, 0, 0], np.linspace(0, 3, 8), atol=1e-6)
        np.testing.assert_allclose(up[0, 0], 0, atol=1e-6)
        assert up.shape == (1, 8, 6, 1)

    def test_bilinear_of_one_pixel(self):
        assert (bilinear_up(jnp.full((1, 1, 1, 2), 3.0)) == 3).all()

    def test_nearest_repeats(self):
        x = jnp.arange(4.0).reshape(1, 2, 2, 1)
        expected = np.kron(np.arange(4.0).reshape(2, 2), np.ones((2, 2)))
        np.testing.assert_array_equal(nearest_up(x)[0, :, :, 0], expected)

    @pytest.mark.parametrize("kind, factor", [("normal", 1), ("down", 0.5), ("up", 2)])
    @pytest.mark.parametrize("expansion", [0, 3])
    def test_cell_shapes(self, kind, factor, expansion):
        features = 4 if kind == "normal" else 6
        cell = ResidualCell(features, kind, expansion)
        x = jnp.zeros((1, 4, 4, 4))
        y, _ = jax.eval_shape(
            lambda: cell.init_with_output(jax.random.key(0), x, False)
        )
        assert y.shape == (1, int(4 * factor), int(4 * factor), features)


class TestValues:
    @pytest.mark.parametrize(
        "field, value, words",
        [
            ("cell", "res_mbcnv", "res_bnswish"),
            ("channel_mult", (1, 2), "needs 3 factors"),
            ("base_channels", 1, "at least 4 channels"),
            ("base_channels_decoder", 0, ">= 1 or None"),
            ("groups_per_scale", 0, ">= 1"),
            ("num_flows", -1, ">= 0"),
            ("log_std_clamp", 0.0, "> 0"),
        ],
    )
    def test_refused_with_field_and_reason(self, field, value, words):
        with pytest.raises(ValueError, match=rf"{field} = .*{words}"):
            NVAE(**SMALL | {field: value})

    def test_image_must_halve(self):
        with pytest.raises(ValueError, match=r"data_shape = \(28, 30, 1\).*of 4"):
            NVAE(**SMALL).latent_shapes((28, 30, 1))
