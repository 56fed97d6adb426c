"""The VAE: padding, preprocessing, groups and scales, modes of batch statistics."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.distributions import BernoulliLikelihood, LogisticLikelihood
from lsgm.elbo import neg_log_prior
from lsgm.model import LatentModel
from lsgm.networks.conv import ConvVAE
from lsgm.networks.nvae import NVAE
from lsgm.priors import normal
from lsgm.vae import VAE

CONV = ConvVAE(channels=(4, 8), latent_channels=2, num_outputs=1)
PADDED = VAE(
    network=CONV,
    likelihood=BernoulliLikelihood(),
    data_shape=(6, 6, 1),
    padding=1,
)
SCALES = VAE(
    network=NVAE(
        base_channels=4,
        channel_mult=(1, 1, 1),
        num_scales=2,
        groups_per_scale=2,
        latents_per_group=3,
        num_outputs=6,
    ),
    likelihood=LogisticLikelihood(num_bits=5),
    data_shape=(8, 8, 3),
)
NORMALISED = VAE(
    network=NVAE(
        base_channels=4,
        channel_mult=(1, 1),
        groups_per_scale=1,
        latents_per_group=2,
        num_outputs=6,
        preprocess_cells=1,
        postprocess_cells=1,
    ),
    likelihood=LogisticLikelihood(num_bits=5),
    data_shape=(4, 4, 3),
)


def example_keys(num, seed=0):
    return jax.random.split(jax.random.key(seed), num)


def batch(vae, num):
    rng = np.random.default_rng(0)
    shape = (num, *vae.data_shape)
    levels = rng.integers(2**vae.likelihood.num_bits, size=shape)
    return {"levels": jnp.asarray(levels, jnp.uint8)}


class Case:
    """A VAE with variables, images, noise, and its pass in a mode, compiled once."""

    def __init__(self, vae):
        self.vae = vae
        self.params, self.mutables = vae.init(jax.random.key(0))
        self.x = vae.preprocess(batch(vae, 3))
        self.noise = vae.draw(example_keys(3))

        self._passes = {}

    def infer(self, **mode):
        key = tuple(mode.items())
        if key not in self._passes:
            run = jax.jit(functools.partial(self.vae.infer, **mode))
            self._passes[key] = run(self.params, self.mutables, self.x, self.noise)
        return self._passes[key]


@pytest.fixture(scope="module")
def padded():
    return Case(PADDED)


@pytest.fixture(scope="module")
def normalised():
    return Case(NORMALISED)


class TestShapes:
    def test_by_scale_deepest_first(self):
        assert SCALES.latent_shapes == (((2, 2, 3),) * 2, ((4, 4, 3),) * 2)

    def test_prior_is_the_deepest_scale_joined(self):
        assert SCALES.prior_shape == (2, 2, 6)

    def test_padding_enters_the_shapes(self):
        assert PADDED.latent_shapes == (((2, 2, 2),),)


def groups(num=2):
    """Distinct numbers for every latent of SCALES."""
    rng = np.random.default_rng(0)
    shapes = [shape for scale in SCALES.latent_shapes for shape in scale]
    return tuple(
        jnp.asarray(rng.normal(size=(num, *shape)), jnp.float32) for shape in shapes
    )


class TestPriorScales:
    @pytest.mark.parametrize(
        ("scales", "shape", "rest"),
        [((0,), (2, 2, 6), 2), ((1,), (4, 4, 6), 2), ((0, 1), (2, 2, 6 + 4 * 6), 0)],
    )
    def test_merge_undoes_join_and_nothing_is_lost(self, scales, shape, rest):
        vae = dataclasses.replace(SCALES, prior_scales=scales)
        z = groups()
        z0, others = vae.join(z), vae.rest(z)
        assert z0.shape == (2, *shape) == (2, *vae.prior_shape)
        assert [v.shape[1:] for v in others] == vae.rest_shapes and len(others) == rest
        for ours, theirs in zip(vae.merge(z0, others), z, strict=True):
            np.testing.assert_array_equal(ours, theirs)

    def test_a_finer_scale_lies_where_it_lay(self):
        """The four neighbours of a finer group stand where the coarser variable is
        that covers them."""
        vae = dataclasses.replace(SCALES, prior_scales=(0, 1))
        z = groups(1)
        z0 = vae.join(z)
        np.testing.assert_array_equal(z0[..., :3], z[0])
        block = z0[0, 1, 0, 6:18].reshape(2, 2, 3)
        np.testing.assert_array_equal(block, z[2][0, 2:4, 0:2])

    @pytest.mark.parametrize("scales", [(0,), (1,), (0, 1)])
    def test_a_normal_prior_is_the_same_on_any_scales(self, scales):
        vae = dataclasses.replace(SCALES, prior_scales=scales)
        z = groups()
        own = normal.neg_log_prob(vae.join(z))
        model = LatentModel(vae=vae, prior=normal.StandardNormal())
        found = neg_log_prior(model, z, own)
        for ours, v in zip(found, z, strict=True):
            np.testing.assert_array_equal(ours, normal.neg_log_prob(v))

    @pytest.mark.parametrize("scales", [(), (2,), (1, 0), (0, 0), (-1,)])
    def test_scales_that_there_are_not_are_refused(self, scales):
        with pytest.raises(ValueError, match=r"prior_scales = .*: expected increasing"):
            dataclasses.replace(SCALES, prior_scales=scales)


class TestDraw:
    def test_an_example_has_its_own_noise(self):
        """Whatever the batch that it stands in."""
        draw = jax.jit(SCALES.draw)
        whole, one = draw(example_keys(4)), draw(example_keys(4)[2:3])
        for a, b in zip(whole, one, strict=True):
            np.testing.assert_array_equal(a[2:3], b)

    def test_groups_are_independent(self):
        first, second, *_ = SCALES.draw(example_keys(4))
        assert np.abs(first - second).max() > 0.1


class TestPreprocess:
    @pytest.mark.parametrize("vae, top", [(PADDED, 1), (SCALES, 31)])
    def test_levels_to_the_unit_interval(self, vae, top):
        ends = jnp.array([0, top], jnp.uint8)[None, :, None, None]
        np.testing.assert_array_equal(vae.preprocess({"levels": ends}).ravel(), [-1, 1])


class TestPadding:
    def test_with_minus_one_and_inner_output(self, padded):
        x = np.pad(padded.x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-1)
        apply = jax.jit(functools.partial(CONV.apply, train=False))
        z, log_q, out = apply({"params": padded.params}, jnp.asarray(x), padded.noise)
        inferred = padded.infer(train=False)
        np.testing.assert_allclose(inferred.z[0], z[0], rtol=1e-5)
        np.testing.assert_allclose(inferred.log_q[0], log_q[0], rtol=1e-5)
        np.testing.assert_allclose(inferred.out, out[:, 1:-1, 1:-1], rtol=1e-5)

    def test_likelihood_is_of_the_data(self, padded):
        likelihood = PADDED.likelihood_of(padded.infer(train=False).out)
        assert likelihood.log_prob(padded.x).shape == (3, 6, 6)
        assert likelihood.mean().shape == padded.x.shape

    def test_without_batch_statistics_there_are_none(self, padded):
        assert padded.mutables == {"batch_stats": {}}
        assert padded.infer(train=True).batch_stats == {}


def assert_trees_equal(ours, theirs):
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


class TestModes:
    def test_training_moves_the_running_statistics(self, normalised):
        new = normalised.infer(train=True).batch_stats
        old = normalised.mutables["batch_stats"]
        assert jax.tree.structure(new) == jax.tree.structure(old)
        for a, b in zip(jax.tree.leaves(new), jax.tree.leaves(old), strict=True):
            assert np.abs(a - b).max() > 0

    def test_evaluation_leaves_them(self, normalised):
        assert_trees_equal(
            normalised.infer(train=False).batch_stats,
            normalised.mutables["batch_stats"],
        )

    def test_batch_statistics_read_only(self, normalised):
        """The training pass, without its traces."""
        read_only = normalised.infer(train=False, batch_statistics=True)
        train = normalised.infer(train=True)
        np.testing.assert_allclose(read_only.out, train.out, rtol=1e-4, atol=1e-5)
        assert_trees_equal(read_only.batch_stats, normalised.mutables["batch_stats"])

    @pytest.mark.parametrize("batch_statistics", [False, True])
    def test_generate_is_the_decoder_of_infer(self, normalised, batch_statistics):
        inferred = normalised.infer(train=False, batch_statistics=batch_statistics)
        generate = functools.partial(
            NORMALISED.generate, batch_statistics=batch_statistics
        )
        generated = jax.jit(generate)(
            normalised.params, normalised.mutables, inferred.z
        )
        expected = NORMALISED.likelihood_of(inferred.out)
        np.testing.assert_allclose(
            generated.mean(), expected.mean(), rtol=1e-4, atol=1e-5
        )

    def test_kernels_and_scales_are_differentiable(self, normalised):
        """What regularisation sees are functions of the parameters."""

        def penalty(params):
            inferred = NORMALISED.infer(
                params, normalised.mutables, normalised.x, normalised.noise, train=False
            )
            trees = (inferred.kernels, inferred.scales)
            return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(trees))

        gradient = jax.jit(jax.grad(penalty))(normalised.params)
        stem, scale = gradient["encoder"]["stem"], gradient["encoder"]["pre_0"]["op_0"]
        assert np.abs(stem["log_gain"]).min() > 0
        np.testing.assert_allclose(scale["norm"]["scale"], 2.0, rtol=1e-6)


class TestValues:
    def test_outputs_must_fit_the_likelihood(self):
        with pytest.raises(ValueError, match=r"network.num_outputs = 1: .*needs 2"):
            VAE(network=CONV, likelihood=LogisticLikelihood(), data_shape=(8, 8, 1))

    def test_image_must_halve(self):
        with pytest.raises(ValueError, match="multiples of 4"):
            VAE(network=CONV, likelihood=BernoulliLikelihood(), data_shape=(6, 6, 1))

    @pytest.mark.parametrize(
        "fields, words",
        [
            ({"padding": -1}, "padding = -1"),
            ({"data_shape": (8, 0, 1)}, "data_shape"),
        ],
    )
    def test_refused(self, fields, words):
        valid = dict(
            network=CONV, likelihood=BernoulliLikelihood(), data_shape=(8, 8, 1)
        )
        with pytest.raises(ValueError, match=words):
            VAE(**valid | fields)
