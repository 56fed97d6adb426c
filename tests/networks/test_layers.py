"""Laws of the shared layers: weight and batch normalisation, squeeze-excitation."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.networks import layers, norm
from lsgm.networks.initialize import initialize


def images(*shape, seed=0, dtype=jnp.float32):
    return jax.random.normal(jax.random.key(seed), shape, dtype)


class TestWNConv:
    def test_kernel_norm_is_the_gain(self):
        """Eq. (1): per output channel, |w_eff| = exp(g)."""
        x = images(2, 6, 6, 5)
        layer = layers.WNConv(4)
        variables = layer.init(jax.random.key(1), x)
        gain = jnp.array([-1.0, 0.0, 0.5, 2.0])
        params = variables["params"] | {"log_gain": gain}
        _, sown = layer.apply({"params": params}, x, mutable=[layers.KERNELS])
        (kernel,) = sown[layers.KERNELS]["kernel"]
        norms = np.linalg.norm(kernel.reshape(-1, 4), axis=0)
        np.testing.assert_allclose(norms, np.exp(gain), rtol=1e-4)

    def test_scale_of_the_weights_does_not_matter(self):
        x = images(2, 6, 6, 5)
        layer = layers.WNConv(4)
        params = layer.init(jax.random.key(1), x)["params"]
        scaled = params | {"kernel": 100 * params["kernel"]}
        np.testing.assert_allclose(
            layer.apply({"params": params}, x),
            layer.apply({"params": scaled}, x),
            atol=1e-4,
        )

    def test_starts_as_the_plain_convolution(self):
        """The gain starts at log(|w| + 0.01)."""
        kernel = images(3, 3, 5, 4)
        gain = layers.WNConv(4)._log_gain(kernel)()
        effective = layers.normalize_kernel(kernel, gain)
        np.testing.assert_allclose(effective, kernel, rtol=3e-3, atol=1e-2)

    def test_gradient_is_finite_at_zero_weights(self):
        def loss(kernel):
            return jnp.sum(layers.normalize_kernel(kernel, jnp.zeros(2)) ** 2)

        assert np.isfinite(jax.grad(loss)(jnp.zeros((3, 3, 1, 2)))).all()


class TestInitialisers:
    @pytest.mark.parametrize(
        "init, bound", [(layers.uniform_fan_in(), 1 / 6), (layers.fan_avg(2.0), 1 / 18)]
    )
    def test_uniform_within_the_bound(self, init, bound):
        """|w| <= 1 / sqrt(36), and <= sqrt(6 * 2 / (9 * (4 + 428)))."""
        draw = init(jax.random.key(0), (3, 3, 4, 428), jnp.float32)
        assert np.abs(draw).max() <= bound
        np.testing.assert_allclose(np.std(draw), bound / 3**0.5, rtol=0.02)

    def test_flat_draw_has_the_numbers_of_the_shaped_one(self):
        np.testing.assert_array_equal(
            layers.flat_uniform(jax.random.key(0), (3, 4), -1.0, 2.0),
            jax.random.uniform(jax.random.key(0), (3, 4), minval=-1.0, maxval=2.0),
        )


class TestSqueezeExcite:
    def test_gates_whole_channels_between_zero_and_one(self):
        x = images(2, 4, 4, 32)
        y = layers.SqueezeExcite().init_with_output(jax.random.key(0), x)[0]
        gates = np.asarray(y / x)
        np.testing.assert_allclose(gates - gates[:, :1, :1], 0, atol=1e-5)
        assert gates.min() > 0 and gates.max() < 1

    @pytest.mark.parametrize("channels, hidden", [(8, 4), (128, 8)])
    def test_width(self, channels, hidden):
        shapes = jax.eval_shape(
            layers.SqueezeExcite().init,
            jax.random.key(0),
            jnp.zeros((1, 2, 2, channels)),
        )
        assert shapes["params"]["reduce"]["kernel"].shape == (channels, hidden)


def batch_norm(x, train, stats=None, **fields):
    """(output, running statistics)."""
    layer = norm.BatchNorm(**fields)
    channels = x.shape[-1]
    params = {"scale": jnp.full(channels, 2.0), "bias": jnp.full(channels, 0.5)}
    stats = stats or {"mean": jnp.zeros(channels), "var": jnp.ones(channels)}
    variables = {"params": params, norm.BATCH_STATS: stats}
    y, state = layer.apply(variables, x, train, mutable=[norm.BATCH_STATS])
    return y, state[norm.BATCH_STATS]


class TestBatchNorm:
    def test_output_moments(self):
        """Eq. (1): batch mean is the bias, batch deviation the scale."""
        y, _ = batch_norm(3 + 5 * images(4, 6, 6, 2), True)
        np.testing.assert_allclose(y.mean((0, 1, 2)), 0.5, atol=1e-4)
        np.testing.assert_allclose(y.std((0, 1, 2)), 2.0, rtol=1e-4)

    def test_running_statistics(self):
        """Eq. (2), with the unbiased variance."""
        x = 3 + 5 * images(2, 3, 3, 2)
        _, stats = batch_norm(x, True)
        flat = np.asarray(x).reshape(-1, 2)
        np.testing.assert_allclose(stats["mean"], 0.05 * flat.mean(0), rtol=1e-5)
        np.testing.assert_allclose(
            stats["var"], 0.95 + 0.05 * flat.var(0, ddof=1), rtol=1e-5
        )

    def test_evaluation_uses_running_statistics_and_leaves_them(self):
        x = images(2, 3, 3, 2)
        given = {"mean": jnp.array([1.0, -1.0]), "var": jnp.array([4.0, 9.0])}
        y, stats = batch_norm(x, False, given)
        expected = 2 * (np.asarray(x) - [1, -1]) / [2, 3] + 0.5
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(stats["var"], given["var"])

    def test_immutable_statistics_are_read_only(self):
        x = images(2, 3, 3, 2)
        layer = norm.BatchNorm()
        variables = layer.init(jax.random.key(0), x, False)
        y = layer.apply(variables, x, True)
        np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-6)

    def test_swish(self):
        x = images(2, 3, 3, 2)
        plain, _ = batch_norm(x, True)
        np.testing.assert_allclose(
            batch_norm(x, True, swish=True)[0], plain * nn.sigmoid(plain), rtol=1e-6
        )

    def test_single_value_per_channel_is_finite(self):
        y, stats = batch_norm(images(1, 1, 1, 2), True)
        assert np.isfinite(y).all() and np.isfinite(stats["var"]).all()

    def test_statistics_are_fp32_in_half_precision(self):
        x = 100 + images(4, 8, 8, 2)
        y, stats = batch_norm(x.astype(jnp.bfloat16), True)
        assert y.dtype == jnp.bfloat16 and stats["var"].dtype == jnp.float32

    def test_two_devices_equal_one(self):
        """The same output and statistics as one device with the whole batch."""
        x = 3 + 5 * images(4, 3, 3, 2)
        mapped = jax.pmap(
            lambda part: batch_norm(part, True, axis_name="batch"),
            axis_name="batch",
            out_axes=(0, None),
        )
        y, stats = mapped(x.reshape(2, 2, 3, 3, 2))
        expected_y, expected = batch_norm(x, True)
        np.testing.assert_allclose(y.reshape(x.shape), expected_y, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(stats["mean"], expected["mean"], rtol=1e-5)
        np.testing.assert_allclose(stats["var"], expected["var"], rtol=1e-5)


class Deep(nn.Module):
    """A module whose forward pass must not run to know its variables."""

    @nn.compact
    def __call__(self, x):
        def refuse(_):
            raise RuntimeError("the forward pass ran")

        y = nn.Dense(3)(x)
        shape = jax.ShapeDtypeStruct(y.shape, y.dtype)
        y = jax.pure_callback(refuse, shape, y)
        return nn.Dense(2)(y)


class TestInitialize:
    def test_equals_init(self):
        layer = layers.WNConv(3)
        x = images(1, 4, 4, 2)
        ours = initialize(layer, jax.random.key(0), x)
        theirs = layer.init(jax.random.key(0), x)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
            ours["params"],
            theirs["params"],
        )

    def test_does_not_run_the_forward_pass(self):
        params = initialize(Deep(), jax.random.key(0), jnp.ones((1, 4)))["params"]
        assert params["Dense_1"]["kernel"].shape == (3, 2)

    def test_absent_collections_are_empty(self):
        variables = initialize(
            nn.Dense(2),
            jax.random.key(0),
            jnp.ones((1, 4)),
            collections=("batch_stats",),
        )
        assert variables == {"batch_stats": {}}
