"""Published names of the NVAE: a bijection, and every key accounted for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.interop.nvae_args import vae_of
from lsgm.interop.nvae_names import from_published, layers, to_published
from lsgm.networks.conv import ConvVAE
from lsgm.vae import VAE

ARGS = dict(
    arch_instance="res_mbconv",
    channel_mult=[1, 1, 2],
    dataset="imagenet_32",
    decoder_dist="dml",
    log_sig_q_scale=5.0,
    num_cell_per_cond_dec=1,
    num_cell_per_cond_enc=1,
    num_channels_dec=6,
    num_channels_enc=4,
    num_groups_per_scale=2,
    num_latent_per_group=3,
    num_latent_scales=2,
    num_nf=1,
    num_postprocess_blocks=1,
    num_postprocess_cells=2,
    num_preprocess_blocks=1,
    num_preprocess_cells=2,
    num_x_bits=5,
    progressive_input_vae="input_skip",
    use_se=True,
)


@pytest.fixture(scope="module")
def published():
    """A VAE, its variables with all entries different, and their published form."""
    vae = vae_of(ARGS)
    count = iter(range(10**6))

    def fill(leaf):
        return next(count) * 1e3 + jnp.arange(leaf.size, dtype=jnp.float32).reshape(
            leaf.shape
        )

    shapes = jax.eval_shape(vae.init, jax.random.key(0))
    params, mutables = jax.tree.map(fill, shapes)
    state = to_published(vae.network, params, mutables["batch_stats"])
    return vae, params, mutables, state


def test_round_trip(published):
    vae, params, mutables, state = published
    back = from_published(vae, state)
    jax.tree.map(np.testing.assert_array_equal, back, (params, mutables))


def test_every_variable_has_one_name(published):
    _, params, mutables, state = published
    leaves = jax.tree.leaves((params, mutables))
    assert len(state) == len(leaves)
    assert sum(v.size for v in state.values()) == sum(v.size for v in leaves)


def test_names_are_unique(published):
    vae, *_ = published
    names, paths, _ = zip(*layers(vae.network), strict=True)
    assert len(set(names)) == len(set(paths)) == len(names)


def test_layouts(published):
    """Kernels (out, in, kh, kw), dense (out, in), gains (out, 1, 1, 1)."""
    _, params, _, state = published
    stem = params["encoder"]["stem"]
    np.testing.assert_array_equal(
        state["stem.weight"][2, 1], stem["kernel"][:, :, 1, 2]
    )
    np.testing.assert_array_equal(
        state["stem.log_weight_norm"][:, 0, 0, 0], stem["log_gain"]
    )
    dense = params["encoder"]["pre_0"]["se"]["reduce"]["kernel"]
    np.testing.assert_array_equal(state["pre_process.0.se.se.0.weight"], dense.T)
    start = params["decoder"]["start"]
    np.testing.assert_array_equal(state["prior_ftr0"][3], start[:, :, 3])


def test_each_half_has_its_width(published):
    """Shapes (out, in) where the halves meet: group 1 joins both maps."""
    *_, state = published
    shapes = {
        "prior_ftr0": (6 * 2, 8, 8),
        "enc_sampler.0.1.weight": (2 * 3, 4 * 2, 3, 3),
        "dec_tower.0.conv.weight": (6 * 2, 6 * 2 + 3, 1, 1),
        "image_conditional.1.weight": (100, 6, 3, 3),
        "stem.weight": (4, 3, 3, 3),
    }
    assert {name: state[name].shape for name in shapes} == shapes
    combiners = {
        v.shape
        for k, v in state.items()
        if k.startswith("enc_tower") and k.endswith(".conv.weight")
    }
    assert combiners == {(4 * 2, 6 * 2, 1, 1), (4, 6, 1, 1)}


def test_repeated_and_counting_entries_are_accepted(published):
    vae, _, _, state = published
    name = "dec_tower.1._ops.0.conv"
    extra = {
        f"{name}.1.conv.0.weight_normalized": state[f"{name}.1.conv.0.weight"],
        f"{name}.0.bn.num_batches_tracked": np.int64(7),
    }
    from_published(vae, state | extra)


@pytest.mark.parametrize(
    "change, words",
    [
        (
            lambda s: s.pop("enc_tower.1.conv.bias"),
            r"missing: enc_tower\.1\.conv\.bias",
        ),
        (lambda s: s.update({"stem.scale": np.zeros(3)}), r"surplus: stem\.scale"),
        (
            lambda s: s.update({"stem.weight_normalized": s["stem.weight"]}),
            r"surplus: stem\.weight_normalized",
        ),
        (
            lambda s: s.update({"stem.bias": np.zeros(5)}),
            r"stem\.bias has shape \(5,\), expected \(4,\)",
        ),
        (
            lambda s: s.update({"stem.weight": np.zeros((4, 3))}),
            r"stem\.weight has shape \(4, 3\)",
        ),
    ],
)
def test_a_wrong_key_is_named(published, change, words):
    vae, _, _, state = published
    state = dict(state)
    change(state)
    with pytest.raises(ValueError, match=words):
        from_published(vae, state)


def test_other_networks_are_refused(published):
    vae, _, _, state = published
    network = ConvVAE(channels=(4,), latent_channels=1, num_outputs=100)
    other = VAE(network=network, likelihood=vae.likelihood, data_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="ConvVAE"):
        from_published(other, state)


class TestArguments:
    def test_fields(self):
        vae = vae_of(ARGS)
        assert vae.data_shape == (32, 32, 3) and vae.padding == 0
        assert vae.likelihood.num_bits == 5
        assert vae.latent_shapes == (((8, 8, 3),) * 2, ((16, 16, 3),) * 2)
        assert vae.network.input_skip and vae.network.num_flows == 1

    def test_widths(self):
        """The encoder's and the decoder's; one width needs no second field."""
        network = vae_of(ARGS).network
        assert (network.base_channels, network.decoder_channels) == (4, 6)
        same = vae_of(ARGS | dict(num_channels_dec=4)).network
        assert same.base_channels_decoder is None and same.decoder_channels == 4

    def test_binary_digits_are_padded(self):
        vae = vae_of(ARGS | dict(dataset="omniglot", decoder_dist="bin"))
        assert vae.data_shape == (28, 28, 1) and vae.padding == 2

    def test_old_files(self):
        old = {k: v for k, v in ARGS.items() if k not in ("num_x_bits", "channel_mult")}
        vae = vae_of(old | dict(num_latent_scales=1))
        assert vae.likelihood.num_bits == 8 and vae.network.channel_mult == (1, 2)

    @pytest.mark.parametrize(
        "name, value, words",
        [
            ("dataset", "svhn", "mnist"),
            ("decoder_dist", "mol", "dml"),
            ("progressive_input_vae", "sum", "input_skip"),
            ("num_postprocess_blocks", 2, "num_preprocess_blocks = 1"),
            ("arch_instance", "res_elu", "res_bnswish"),
        ],
    )
    def test_unknown_values_are_named(self, name, value, words):
        with pytest.raises(ValueError, match=rf"= {value!r}.*{words}"):
            vae_of(ARGS | {name: value})
