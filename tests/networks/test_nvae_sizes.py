"""The published recipes: parameters by part, regularised layers, latent shapes."""

import functools
import math

import jax
import pytest

from lsgm.interop.nvae_names import layers
from lsgm.networks.nvae import NVAE

CIFAR = dict(base_channels=128, channel_mult=(1, 2), num_outputs=100)
CELEBA = dict(
    base_channels=64,
    groups_per_scale=10,
    latents_per_group=20,
    num_outputs=100,
    cells_per_group_encoder=2,
    cells_per_group_decoder=2,
    cell="res_mbconv",
    num_flows=2,
    input_skip=True,
)
RECIPES = {
    "cifar_20_groups": (
        32,
        CIFAR
        | dict(
            groups_per_scale=20,
            latents_per_group=9,
            cells_per_group_encoder=2,
            cells_per_group_decoder=2,
        ),
    ),
    "cifar_4_groups": (
        32,
        CIFAR
        | dict(
            base_channels=256,
            groups_per_scale=4,
            latents_per_group=45,
            cells_per_group_encoder=3,
            cells_per_group_decoder=3,
            preprocess_cells=3,
            postprocess_cells=3,
            num_flows=2,
        ),
    ),
    "mnist": (
        32,
        dict(
            base_channels=64,
            channel_mult=(1, 2, 2),
            groups_per_scale=2,
            latents_per_group=20,
            num_outputs=1,
            preprocess_blocks=2,
            preprocess_cells=3,
            postprocess_cells=3,
            cell="res_mbconv",
        ),
    ),
    "omniglot": (
        32,
        dict(
            base_channels=64,
            channel_mult=(1, 2),
            groups_per_scale=3,
            latents_per_group=20,
            num_outputs=1,
            cells_per_group_encoder=3,
            cells_per_group_decoder=3,
            cell="res_mbconv",
        ),
    ),
    "celeba_quantitative": (
        256,
        CELEBA | dict(channel_mult=(1, 1, 2, 4), num_scales=3, groups_per_scale=8),
    ),
    "celeba_qualitative": (
        256,
        CELEBA | dict(channel_mult=(1, 1, 2), num_scales=2),
    ),
}
# Counted on the published network: stem, pre-processing, encoder tower, pyramid,
# samplers, flows, latent convolutions, decoder tower, post-processing, head, start.
PARTS = (
    "stem pre_process enc_tower progressive_input_cells enc_sampler nf_cells eps_conv "
    "dec_tower post_process image_conditional prior_ftr0"
).split()
# fmt: off
PARAMETERS = {
    "cifar_20_groups": (3712, 1226392, 48861312, 0, 830160, 0, 14940, 48973440,
                        776848, 115400, 65536),
    "cifar_4_groups": (7424, 6088256, 57861504, 0, 1659600, 2062080, 73260, 58216832,
                       4292144, 230600, 131072),
    "mnist": (704, 1293352, 612880, 0, 92320, 0, 7280, 481552, 508964, 578, 8192),
    "omniglot": (704, 307532, 2716360, 0, 138480, 0, 10920, 2051784, 125064, 578,
                 32768),
    "celeba_quantitative": (1856, 153864, 26799832, 369792, 1292160, 2618880, 87360,
                            19586764, 66120, 57800, 262144),
    "celeba_qualitative": (1856, 153864, 7883512, 74112, 692800, 2182400, 72800,
                           6079988, 66120, 57800, 524288),
}
# fmt: on
TOTALS = {
    "cifar_20_groups": (100867740, 254, 168),
    "cifar_4_groups": (130622772, 130, 60),
    "mnist": (3005822, 59, 48),
    "omniglot": (5384190, 73, 66),
    "celeba_quantitative": (51296572, 662, 314),
    "celeba_qualitative": (17789540, 547, 259),
}
LATENTS = {
    "cifar_20_groups": [(16, 16, 9)],
    "cifar_4_groups": [(16, 16, 45)],
    "mnist": [(8, 8, 20)],
    "omniglot": [(16, 16, 20)],
    "celeba_quantitative": [(32, 32, 20), (64, 64, 20), (128, 128, 20)],
    "celeba_qualitative": [(64, 64, 20), (128, 128, 20)],
}
FAST = ["mnist", "omniglot", "cifar_4_groups"]
ALL = FAST + [pytest.param(n, marks=pytest.mark.slow) for n in RECIPES if n not in FAST]


def size_of(tree):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("recipe", ALL)
def test_published_sizes(recipe):
    """Parameters by part, and convolutions and norm layers under regularisation."""
    size, fields = RECIPES[recipe]
    network = NVAE(**fields)
    channels = 1 if fields["num_outputs"] == 1 else 3
    image_shape = (size, size, channels)
    shapes = [s for scale in network.latent_shapes(image_shape) for s in scale]
    image, *noise = [
        jax.ShapeDtypeStruct((1, *s), "float32") for s in [image_shape, *shapes]
    ]
    variables = jax.eval_shape(
        functools.partial(network.init, train=False),
        jax.random.key(0),
        image,
        tuple(noise),
    )
    params = variables["params"]
    parts = dict.fromkeys(PARTS, 0) | {
        "prior_ftr0": size_of(params["decoder"]["start"])
    }
    for layer in layers(network):
        tree = functools.reduce(lambda t, name: t[name], layer.path, params)
        parts[layer.published.split(".")[0]] += size_of(tree)
    assert tuple(parts.values()) == PARAMETERS[recipe]
    counts = [len(jax.tree.leaves(variables[name])) for name in ("kernels", "scales")]
    assert (size_of(params), *counts) == TOTALS[recipe]


@pytest.mark.parametrize("recipe", RECIPES)
def test_published_latent_shapes(recipe):
    size, fields = RECIPES[recipe]
    shapes = NVAE(**fields).latent_shapes((size, size, 3))
    assert [scale[0] for scale in shapes] == LATENTS[recipe]
    assert all(
        len(scale) == fields["groups_per_scale"] and len(set(scale)) == 1
        for scale in shapes
    )
