"""Updates as GPUs and TPUs would get them, lowered here without one."""

import re

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, PartitionSpec

from configs import demo, latent_cld, latent_gan
from configs.toy2d import cld, ddgan
from lsgm.networks.depthwise import depthwise
from lsgm.runs import experiment, train
from lsgm.training.packing import pack_state
from lsgm.training.parallel import AXIS
from lsgm.training.step import make_update
from tests import tiny
from tests.marks import first_fast

DEVICES, A_DEVICE = 2, 4
MOST_LEAVES, MOST_REDUCTIONS = 60, 10
CASES = [
    ("tiny", tiny.config, "lsgm"),
    ("demo", demo.get_config, "vae"),
    ("demo", demo.get_config, "lsgm"),
    ("toy2d/cld", cld.get_config, "prior"),
    ("toy2d/ddgan", ddgan.get_config, "prior"),
    ("latent_cld", latent_cld.get_config, "lsgm"),
    ("latent_gan", latent_gan.get_config, "gan"),
]


def lowered(config, name: str) -> tuple[dict[str, str], int]:
    """A stage's update on two devices by platform, and the leaves of its state."""
    made = experiment.from_config(config)
    stage, vae = made.stages[name], made.vae
    state = jax.eval_shape(pack_state, train.abstract_state(stage, vae, name))
    batch = dict(vae.abstract_batch(DEVICES * A_DEVICE))
    update = make_update(stage.objective(vae), stage.transformations(), stage.ema, AXIS)
    mesh = jax.make_mesh((DEVICES,), (AXIS,), axis_types=(AxisType.Auto,))
    whole, parted = PartitionSpec(), PartitionSpec(AXIS)
    mapped = jax.shard_map(
        update, mesh=mesh, in_specs=(whole, parted), out_specs=(whole, whole)
    )
    traced = jax.jit(mapped, donate_argnums=0).trace(state, batch)
    texts = {
        platform: traced.lower(lowering_platforms=(platform,)).as_text()
        for platform in ("cuda", "tpu")
    }
    return texts, len(jax.tree.leaves(state))


@pytest.mark.parametrize(
    "case", first_fast(CASES), ids=lambda case: "-".join(case[::2])
)
def test_programs_suit_accelerators(case):
    """No double precision, no call back to the host, every buffer of the state given
    away, no shape that is known only when it runs; few leaves, and few reductions over
    devices."""
    _, config, name = case
    texts, leaves = lowered(config(), name)
    for text in texts.values():
        assert "f64" not in text
        assert "callback" not in text
        assert "tensor<?" not in text
        (head,) = re.findall(r"func\.func public @main\((.*?)\) -> ", text, re.DOTALL)
        given = len(re.findall(r"jax\.buffer_donor = true|tf\.aliasing_output", head))
        assert given == leaves <= MOST_LEAVES
        assert text.count("stablehlo.all_reduce") <= MOST_REDUCTIONS


def test_depthwise_convolutions_are_grouped_on_accelerators_only():
    x, kernel = jnp.ones((1, 8, 8, 6)), jnp.ones((5, 5, 1, 6))
    traced = jax.jit(depthwise).trace(x, kernel)
    found = {}
    for platform in ("cuda", "tpu", "cpu"):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        found[platform] = "feature_group_count = 6" in text
    assert found == {"cuda": True, "tpu": True, "cpu": False}
