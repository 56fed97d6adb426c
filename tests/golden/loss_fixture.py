"""A loss fixture: one step of the published objective, from recorded draws.

A file names its base (weights, images, the latents' noise) and holds the settings
of one step, its draws of noise and time, every term of the losses, and gradients.
"""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np

from lsgm import config as configs
from lsgm import elbo
from lsgm.interop import ncsnpp_names, nvae_names
from lsgm.interop.nvae_args import vae_of
from lsgm.objective import Regularization
from lsgm.objectives.kl_balance import KLSchedule
from lsgm.priors.score import ScoreDraws, ScorePrior
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.training.stage import Stage
from lsgm.training.state import TrainState
from lsgm.training.step import group_gradients
from tests.golden.files import base_of
from tests.golden.test_sde import WEIGHTINGS, make_sde, time_sampler

# The compiler takes longer than all runs of what it compiles.
QUICK = {"xla_backend_optimization_level": 0}
REWEIGHT = "reweight_p_samples"
# Published names of the groups.
PUBLISHED = {"vae": "vae", "prior": "dae"}


def nhwc(array):
    return jnp.asarray(np.moveaxis(array, 1, -1))


def nchw(array):
    return np.moveaxis(np.asarray(array), -1, 1)


class Golden:
    """One fixture, and the stage that its settings describe."""

    def __init__(self, path):
        with np.load(path) as arrays:
            self.arrays = dict(arrays)
        with np.load(base_of(path, self.json("base_file"))) as arrays:
            self.base = dict(arrays)
        self.args = self.json("args")
        self.disjoint = self.json("variant") == "disjoint"
        self.vae = vae_of(json.loads(str(self.base["vae_config"])))
        self.objective = self._stage().objective(self.vae)
        self.params, statistics = self._weights()
        self.mutables = self._mutables(statistics)

    def json(self, key):
        return json.loads(str(self.arrays[key]))

    def __getitem__(self, key):
        return self.arrays[key]

    def _stage(self):
        args = self.args
        vae, prior = args["weight_decay_norm_vae"], args["weight_decay_norm_dae"]
        groups = ("vae", "prior") if args["train_vae"] else ("prior",)
        # With custom_conv_dae the published code looks for convolutions of the VAE's
        # kind, and finds none.
        spectral = 0.0 if args["custom_conv_dae"] else prior
        return Stage(
            prior=self._prior(),
            optimizers=dict.fromkeys(groups),
            kl=self._kl(),
            balance_kl=args["kl_balance_vada"],
            regularization={
                "vae": Regularization(spectral=vae, norm=vae),
                "prior": Regularization(spectral=spectral, norm=prior),
            },
            disjoint=self.disjoint,
            num_steps=args["num_total_iter"],
            batch_size=args["batch_size"],
            reference_compatible=True,
        )

    def _kl(self):
        args, total = self.args, self.args["num_total_iter"]
        if not args["cont_kl_anneal"]:
            return KLSchedule()
        return KLSchedule(
            coeff_min=args["kl_const_coeff_vada"],
            coeff_max=args["kl_max_coeff_vada"],
            anneal_steps=args["kl_anneal_portion_vada"] * total,
            const_steps=args["kl_const_portion_vada"] * total,
        )

    def _prior(self):
        args, config = self.args, json.loads(str(self.base["dae_config"]))
        mode, own = args["iw_sample_p"], args["iw_sample_q"]
        t_min = args["time_eps"]
        multipliers = config.get("channel_mult")
        if multipliers is None:
            multipliers = ncsnpp_names.channel_mult(config)
        return ScorePrior(
            sde=make_sde(args),
            network=configs.build(
                ncsnpp_names.network_piece(config, tuple(multipliers))
            ),
            weighting=WEIGHTINGS[mode.rsplit("_", 1)[0]],
            time_sampler=time_sampler(mode, t_min),
            encoder_times=None if own == REWEIGHT else time_sampler(own, t_min),
            sampler=ProbabilityFlow(),
            mixed=config["mixed_prediction"],
        )

    def _weights(self):
        own, statistics = nvae_names.from_published(self.vae, self._state("vae_sd/"))
        init = functools.partial(self.model.prior.init, z_shape=self.vae.prior_shape)
        shapes, _ = jax.eval_shape(init, jax.random.key(0))
        tree = ncsnpp_names.read(self._state("dae_sd/"), shapes["prior"], fir=self.fir)
        return {"vae": own, "prior": jax.tree.map(jnp.asarray, tree)}, statistics

    def _mutables(self, statistics):
        """With the recorded vectors of power iteration."""
        active = jnp.ones(self.vae.prior_shape[-1])
        mutables = {"vae": statistics, "prior": {"active": active}}
        bound = jax.eval_shape(lambda params: self.bound(params, mutables), self.params)
        return {
            group: {**mutables[group], "spectral": self._vectors(group, kernels)}
            if self.has_spectral(group)
            else mutables[group]
            for group, kernels in self.kernels(bound).items()
        }

    def _state(self, prefix):
        found = {k: v for k, v in self.base.items() if k.startswith(prefix)}
        return {k.removeprefix(prefix): v for k, v in found.items()}

    @functools.cached_property
    def layers(self):
        """Published names by group and path of a layer in our trees."""
        vae = nvae_names.layers(self.vae.network)
        prior = ncsnpp_names.entries(self.params["prior"], fir=self.fir)
        return {
            "vae": {layer.path: layer.published for layer in vae},
            "prior": {e.path[1:-1]: e.name.rpartition(".")[0] for e in prior},
        }

    def has_spectral(self, group):
        """Whether the published code knew of any convolutions in that group."""
        key = f"sr_{PUBLISHED[group]}/groups"
        return key in self.arrays and bool(self.json(key))

    @property
    def one_objective(self):
        """Whether prior and VAE descend one loss."""
        args = self.args
        likelihood = args["iw_sample_p"] in ("ll_iw", "ll_uniform")
        return args["train_vae"] and likelihood and args["iw_sample_q"] == REWEIGHT

    def _vectors(self, group, kernels):
        """The recorded start vectors, in our stacking's order."""
        prefix, start = f"sr_{PUBLISHED[group]}", {}
        for i, stack in enumerate(self.json(f"{prefix}/groups")):
            recorded = self[f"{prefix}/u0_{i}"]
            start |= dict(zip(stack["layers"], recorded, strict=True))
        stacks = {}
        for path, kernel in jax.tree_util.tree_leaves_with_path(kernels):
            layer = tuple(entry.key for entry in path if hasattr(entry, "key"))[:-1]
            rows, cols = kernel.shape[-1], kernel.size // kernel.shape[-1]
            u = start.pop(self.layers[group][layer])
            stacks.setdefault(f"{rows}x{cols}", []).append((u, np.zeros(cols)))
        assert not start
        return {
            shape: tuple(
                jnp.stack(part, dtype=jnp.float32) for part in zip(*stack, strict=True)
            )
            for shape, stack in stacks.items()
        }

    @property
    def model(self):
        return self.objective.model

    @property
    def fir(self):
        return self.model.prior.network.fir

    @property
    def draws(self):
        """The recorded ones. Of two evaluations each only uses its own times."""
        arrays, num = self.arrays, self.vae.network.num_groups
        noise = tuple(nhwc(self.base[f"noise/group{k}"]) for k in range(num))
        rho, own = (
            jnp.asarray(arrays[key]) if key in arrays else None
            for key in ("draw/rho_p", "draw/rho_q")
        )
        prior, encoder = (
            ScoreDraws(nhwc(arrays[key]), rho, own) if key in arrays else None
            for key in (
                "draw/noise_p" if self.disjoint else "draw/noise",
                "draw/noise_q",
            )
        )
        return elbo.ObjectiveDraws(noise, prior, jax.random.key(0), encoder)

    @property
    def x(self):
        p, (h, w, _) = self.vae.padding, self.vae.data_shape
        return nhwc(self.base["x"])[:, p : p + h, p : p + w]

    def bound(self, params, mutables):
        return elbo.bound(
            self.model,
            params,
            mutables,
            self.x,
            self.draws,
            train_vae=True,
            train_prior=True,
        )

    def kernels(self, bound):
        return {"vae": bound.inferred.kernels, **bound.prior_terms.kernels}

    @functools.cached_property
    def terms(self):
        """The bound, term by term."""
        run = jax.jit(self.bound, compiler_options=QUICK)
        return run(self.params, self.mutables)

    @functools.cached_property
    def step(self):
        """(losses, gradients by group, aux) of the objective."""
        step = jnp.asarray(int(self["global_step"]), jnp.int32)
        state = TrainState(
            step=step, key=None, params=self.params, opt={}, ema={}, mutables=None
        )

        def run(state, mutables):
            state = state.replace(mutables=mutables)
            groups = self.objective.groups
            return group_gradients(
                self.objective, state, groups, self.x, self.draws, None
            )

        return jax.jit(run, compiler_options=QUICK)(state, self.mutables)


@functools.cache
def load(path):
    return Golden(path)
