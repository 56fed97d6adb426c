"""Published denoising diffusion GANs to workdirs of ours."""

import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lsgm.files import sha256
from lsgm.interop import ddgan_names
from lsgm.interop.ddgan_config import config_of
from lsgm.interop.ddgan_run import PublishedGan
from lsgm.interop.files import State
from lsgm.model import LatentModel
from lsgm.priors.ddgan import DISCRIMINATOR, GENERATOR
from lsgm.runs import experiment as experiments
from lsgm.runs.exchange import require_empty, write_imported
from lsgm.training.state import TrainState
from lsgm.typing import Params


def import_gan(
    run: PublishedGan, path: pathlib.Path, workdir: pathlib.Path
) -> pathlib.Path:
    """Write a published GAN as the checkpoint of a new workdir; returns the folder of
    its stage. Nothing is written unless all of the file is understood.

    Args:
      path: where ``run`` was read, for the record.

    Raises:
      ValueError: tensors and arguments do not agree; names the tensor.
      WorkdirError: the workdir is not empty.
    """
    require_empty(workdir)
    config = config_of(run.args, run.step)
    (name,) = config["stage_order"]
    experiment = experiments.described(config)
    state = state_of(experiment.stages[name].objective(experiment.vae).model, run)
    origin = {"file": path.name, "sha256": sha256(path)}
    return write_imported(workdir, config, state, origin, run.average is None)


def state_of(model: LatentModel, run: PublishedGan) -> TrainState:
    """Parameters and averages, without any optimiser's state. A file without a
    discriminator gets one that knows nothing: no sample needs it.

    Raises:
      ValueError: a tensor is missing, surplus, or of another shape; names it.
    """
    prior: Any = model.prior
    key = jax.random.key(0)
    template = jax.eval_shape(lambda: model.init(key))[0]
    fir = prior.generator.fir

    def generator(state: State) -> Params:
        own = template[GENERATOR]
        return _tree(lambda: ddgan_names.read_generator(state, own, fir=fir))

    params = {"vae": {}, GENERATOR: generator(run.generator)}
    if run.discriminator is None:
        fresh, _ = model.init(key)
        params[DISCRIMINATOR] = fresh[DISCRIMINATOR]
    else:
        own, state = template[DISCRIMINATOR], run.discriminator
        params[DISCRIMINATOR] = _tree(
            lambda: ddgan_names.read_discriminator(state, own)
        )
    ema = {} if run.average is None else {GENERATOR: generator(run.average)}
    mutables = jax.eval_shape(lambda: model.init(key))[1]
    return TrainState(
        step=jnp.int32(run.step),
        key=jax.random.key(0),
        params=params,
        opt={},
        ema=ema,
        # They hold nothing: neither the identity nor a GAN carries anything.
        mutables=jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), mutables),
    )


def _tree(read: Callable[[], Params]) -> Params:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), read())
