"""A small run as the published code would leave it: random weights, whole arguments."""

import functools

import jax
import numpy as np

from lsgm.config import build
from lsgm.interop import ncsnpp_names, nvae_names
from lsgm.interop.files import PublishedRun
from lsgm.interop.nvae_args import vae_of
from lsgm.interop.published_config import prior_piece

ARGS = dict(
    arch_instance="res_mbconv",
    channel_mult=[1, 2, 2],
    dataset="mnist",
    decoder_dist="bin",
    log_sig_q_scale=5.0,
    num_cell_per_cond_dec=1,
    num_cell_per_cond_enc=1,
    num_channels_dec=6,
    num_channels_enc=4,
    num_groups_per_scale=2,
    num_latent_per_group=2,
    num_latent_scales=1,
    num_nf=0,
    num_postprocess_blocks=2,
    num_postprocess_cells=1,
    num_preprocess_blocks=2,
    num_preprocess_cells=1,
    num_x_bits=8,
    progressive_input_vae="none",
    use_se=True,
    num_scales_dae=2,
    num_channels_dae=8,
    num_cell_per_scale_dae=1,
    fir=False,
    dropout=0.2,
    embedding_dim=8,
    embedding_type="positional",
    embedding_scale=1000.0,
    progressive="none",
    progressive_input="none",
    progressive_combine="sum",
    mixed_prediction=True,
    mixing_logit_init=-6.0,
    sde_type="vpsde",
    sigma2_0=0.0,
    sigma2_min=1e-4,
    sigma2_max=0.99,
    beta_start=0.1,
    beta_end=20.0,
    time_eps=0.01,
    iw_sample_p="ll_iw",
    iw_sample_q="reweight_p_samples",
)
STEP = 1234


@functools.cache
def run() -> PublishedRun:
    """The run with all of its tensors different."""
    vae, prior = vae_of(ARGS), build(prior_piece(ARGS))
    rng = np.random.default_rng(0)

    def random(shapes):
        return jax.tree.map(
            lambda leaf: 1 + 0.1 * rng.normal(size=leaf.shape).astype(np.float32),
            shapes,
        )

    key = jax.eval_shape(lambda: jax.random.key(0))
    params, mutables = random(jax.eval_shape(vae.init, key))
    own = jax.eval_shape(lambda key: prior.init(key, vae.prior_shape), key)[0]
    return PublishedRun(
        vae=nvae_names.to_published(vae.network, params, mutables["batch_stats"]),
        prior=ncsnpp_names.write(random(own)["prior"], fir=False),
        average=None,
        args=ARGS,
        step=STEP,
    )
