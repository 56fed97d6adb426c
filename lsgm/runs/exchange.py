"""Published checkpoints to workdirs of ours, and trained models to published files."""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lsgm.files import sha256
from lsgm.interop import (
    cld_args,
    cld_config,
    files,
    ncsnpp_names,
    nvae_names,
    published_args,
)
from lsgm.interop.files import PublishedRun, State
from lsgm.interop.published_config import config_of
from lsgm.model import LatentModel
from lsgm.priors.score import GROUP, ScorePrior
from lsgm.runs import experiment as experiments
from lsgm.runs.restore import Restored
from lsgm.runs.workdir import WorkdirError, claim
from lsgm.training.checkpoints import NEWEST, Checkpoints, describe_run
from lsgm.training.state import TrainState
from lsgm.typing import Params
from lsgm.vae import IdentityVAE


def import_file(
    path: pathlib.Path,
    workdir: pathlib.Path,
    args: Mapping[str, Any] | None = None,
    *,
    prefix: str = "",
) -> pathlib.Path:
    """Write a published file as the checkpoint of a new workdir; returns the folder
    of its stage. Nothing is written unless all of the file is understood.

    Args:
      args: the run's arguments where the file lacks them.
      prefix: what names of tensors begin with because a wrapper saved them.

    Raises:
      ValueError: the file is unreadable, or tensors and arguments do not agree;
        names the tensor.
      WorkdirError: the workdir is not empty.
    """
    require_empty(workdir)
    run = files.read(path, args, prefix=prefix)
    if run.vae is None:
        config = cld_config.config_of(run.args, run.step)
    else:
        config = config_of(run.args, run.step, with_prior=run.prior is not None)
    (name,) = config["stage_order"]
    experiment = experiments.described(config)
    model = experiment.stages[name].objective(experiment.vae).model
    state = state_of(model, run)
    averaged = run.average is None and run.prior is not None
    return write_imported(workdir, config, state, _origin(path, run), averaged)


def require_empty(workdir: pathlib.Path) -> None:
    """Refuse a workdir that holds something.

    Raises:
      WorkdirError: it does.
    """
    if workdir.exists() and any(workdir.iterdir()):
        raise WorkdirError(f"{workdir} is not empty; give another workdir")


def write_imported(
    workdir: pathlib.Path,
    config: dict[str, Any],
    state: TrainState,
    origin: dict[str, Any],
    averaged: bool,
) -> pathlib.Path:
    """Write a workdir of one stage with a published state; returns the stage's folder.

    Args:
      origin: where the state comes from.
      averaged: whether its parameters are averages.
    """
    (name,) = config["stage_order"]
    claim(workdir, config)
    meta = describe_run(config, name) | {"window": [], "imported": origin}
    if averaged:
        meta["parameters"] = "averaged"
    with Checkpoints(workdir / name / NEWEST) as checkpoints:
        checkpoints.save(state, meta)
    return workdir / name


def state_of(model: LatentModel, run: PublishedRun) -> TrainState:
    """Parameters, averages and statistics, without any optimiser's state.

    Raises:
      ValueError: a tensor is missing, surplus, or of another shape; names it.
    """
    if run.vae is None:
        vae, statistics = model.vae.init(jax.random.key(0))
    else:
        vae, statistics = nvae_names.from_published(model.vae, run.vae)
    params, mutables, ema = {"vae": vae}, {"vae": statistics}, {}
    if run.prior is not None:
        template, own = jax.eval_shape(
            lambda: model.prior.init(jax.random.key(0), model.vae.prior_shape)
        )
        fir = _score_prior(model).network.fir
        numbered = run.vae is None
        params[GROUP] = _read_prior(run.prior, template[GROUP], fir, numbered)
        # The published code masks nothing after training.
        mutables[GROUP] = {"active": jnp.ones(own[GROUP]["active"].shape)}
        if run.average is not None:
            ema[GROUP] = _read_prior(run.average, template[GROUP], fir, numbered)
    return TrainState(
        step=jnp.int32(run.step),
        key=jax.random.key(0),
        params=params,
        opt={},
        ema=ema,
        mutables=mutables,
    )


def export_file(restored: Restored, path: pathlib.Path) -> None:
    """Write a restored model under published names, as npz or safetensors.

    Raises:
      ValueError: the published code cannot express the model; names the field.
    """
    files.write(path, published_of(restored))


def published_of(restored: Restored) -> PublishedRun:
    """The restored parameters under published names; raises as ``export_file``.

    Channels that the prior does not see are cut off in its first convolution, which
    comes to the same: published files have no mask.
    """
    model, params, mutables = restored.model, restored.params, restored.mutables
    if isinstance(model.vae, IdentityVAE):
        return _published_network(restored)
    prior = _score_prior(model) if model.prior.groups else None
    args = published_args.args_of(model.vae, prior)
    network: Any = model.vae.network
    vae = nvae_names.to_published(
        network, params["vae"], mutables["vae"]["batch_stats"]
    )
    states: State | None = None
    if prior is not None:
        own = _cut_off(prior, params[GROUP], mutables[GROUP]["active"])
        states = ncsnpp_names.write(own, fir=prior.network.fir)
    return PublishedRun(
        vae=vae, prior=states, average=None, args=args, step=restored.step
    )


def _published_network(restored: Restored) -> PublishedRun:
    """A prior on images under the names of CLD's code."""
    prior = _score_prior(restored.model)
    args = cld_args.args_of(restored.model.vae, prior)
    active = np.asarray(restored.mutables[GROUP]["active"])
    if not active.all():
        raise ValueError(
            f"prior: {int((active == 0).sum())} channels are masked; published "
            "networks of images see all of them"
        )
    states = ncsnpp_names.write(
        restored.params[GROUP], fir=prior.network.fir, numbered=True
    )
    return PublishedRun(
        vae=None, prior=states, average=None, args=args, step=restored.step
    )


def _score_prior(model: LatentModel) -> ScorePrior:
    if not isinstance(model.prior, ScorePrior):
        raise ValueError(f"prior = {model.prior!r}: published are score priors")
    return model.prior


def _read_prior(state: State, template: Params, fir: bool, numbered: bool) -> Params:
    tree = ncsnpp_names.read(state, template, fir=fir, numbered=numbered)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)


def _cut_off(prior: ScorePrior, params: Params, active: Any) -> Params:
    active = np.asarray(active)
    if active.all():
        return params
    if prior.network.progressive_input != "none":
        raise ValueError(
            f"prior.network.progressive_input = {prior.network.progressive_input!r}: "
            "with inactive channels only 'none' can be exported"
        )
    network, stem = params["network"], params["network"]["stem"]
    kernel = np.asarray(stem["kernel"]) * active[:, None]
    return {**params, "network": {**network, "stem": {**stem, "kernel": kernel}}}


def _origin(path: pathlib.Path, run: PublishedRun) -> dict[str, Any]:
    words = {
        name: value
        for name, value in run.args.items()
        if isinstance(value, str | int | float | bool | list | tuple | None)
    }
    return {"file": path.name, "sha256": sha256(path), "args": words}
