"""Denoising diffusion GANs against the published code, on its weights and its draws.

What is tested of a file follows from its ``config`` and from the arrays that it stores.
"""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsgm import config as configs
from lsgm.interop import ddgan_names
from lsgm.networks.adaptive import Mapping
from lsgm.objectives.adversarial import (
    LazyR1,
    discriminator_loss,
    generator_loss,
    squared_gradient,
)
from lsgm.samplers.posterior import sample_chain
from tests.conftest import golden_dir
from tests.golden.files import fixtures_with
from tests.golden.test_ncsnpp import QUICK, assert_close, nhwc


class Fixture:
    """A file's arrays, channels last, and what its config describes."""

    def __init__(self, path):
        with np.load(path) as arrays:
            self.arrays = dict(arrays)
        self.config = self.json("config")
        prefix = "sd/"
        self.state = {
            key.removeprefix(prefix): array
            for key, array in self.arrays.items()
            if key.startswith(prefix)
        }

    def json(self, key):
        return json.loads(str(self.arrays[key]))

    def __getitem__(self, key):
        array = self.arrays[key]
        return nhwc(array) if array.ndim == 4 else jnp.asarray(array)

    @property
    def level(self):
        """k, from the published k - 1."""
        return self["t"].astype(jnp.int32) + 1


class Generated(Fixture):
    """A generator with its weights."""

    def __init__(self, path):
        super().__init__(path)
        self.network = configs.build(ddgan_names.generator_piece(self.config))
        self.chain = configs.build(ddgan_names.chain_piece(self.config))
        init = functools.partial(self.network.init, train=False)
        own = jax.random.key(0), self["x"], self.level, self["z"]
        template = jax.eval_shape(init, *own)["params"]
        tree = ddgan_names.read_generator(self.state, template, fir=self.network.fir)
        self.params = jax.tree.map(jnp.asarray, tree)

    def guess(self, params, x, level, z):
        return self.network.apply({"params": params}, x, level, z, train=False)

    @functools.cached_property
    def computed(self):
        """The output, and the samples; compiled in one."""
        # The published draws are in the order of use; ours are stored by level.
        latents = jnp.asarray(self.arrays["sampling/latent_z"][::-1])
        noise = jnp.moveaxis(jnp.asarray(self.arrays["sampling/noise"][::-1]), 2, -1)

        def compute(params):
            own = functools.partial(self.guess, params)
            start = self["sampling/x_init"]
            out = own(self["x"], self.level, self["z"])
            return out, sample_chain(self.chain, own, start, latents, noise)

        return jax.jit(compute, compiler_options=QUICK)(self.params)


class Judged(Fixture):
    """A discriminator with its weights, and the losses of both players."""

    def __init__(self, path):
        super().__init__(path)
        self.network = configs.build(ddgan_names.discriminator_piece(self.config))
        self.chain = configs.build(
            ddgan_names.chain_piece(self.config["generator_config"])
        )
        init = functools.partial(self.network.init, train=False)
        own = jax.random.key(0), self["x_t"], self["x_tp1"], self.level
        template = jax.eval_shape(init, *own)["params"]
        tree = ddgan_names.read_discriminator(self.state, template)
        self.params = jax.tree.map(jnp.asarray, tree)

    def logits(self, params, cleaner):
        variables = {"params": params}
        return self.network.apply(
            variables, cleaner, self["x_tp1"], self.level, train=False
        )

    def fake(self, x0):
        noise = self["noise_posterior"]
        return self.chain.posterior(x0, self["x_tp1"], self.level, noise)

    @functools.cached_property
    def computed(self):
        """Logits, losses and gradients by name; compiled in one."""
        r1 = LazyR1(gamma=self.config["r1_gamma"])

        def total(params):
            logits = functools.partial(self.logits, params)
            real, fake = logits(self["x_t"]), logits(self["x_pos_sample"])
            penalty = r1(logits, self["x_t"], jnp.int32(0))
            found = {
                "D_real": real,
                "D_fake": fake,
                "r1_penalty": jnp.mean(penalty),
                "squares": squared_gradient(logits, self["x_t"]),
            }
            return jnp.mean(discriminator_loss(real, fake) + penalty), found

        def to_guess(x0):
            return jnp.mean(generator_loss(self.logits(self.params, self.fake(x0))))

        def compute(params):
            own, found = jax.grad(total, has_aux=True)(params)
            found["loss_G"], to_x0 = jax.value_and_grad(to_guess)(self["x0_pred"])
            real = functools.partial(self.logits, params)
            to_real = jax.grad(lambda x: jnp.sum(real(x)))(self["x_t"])
            gradients = {
                "grad_loss_G_wrt_x0_pred": to_x0,
                "grad_D_real_wrt_x_t": to_real,
            }
            return found, gradients, own

        return jax.jit(compute, compiler_options=QUICK)(self.params)


@functools.cache
def load(kind, path):
    return kind(path)


@pytest.fixture(params=fixtures_with("configs", "*/a_s_cum"))
def schedules(request):
    with np.load(request.param) as arrays:
        arrays = dict(arrays)
    names = sorted({key.split("/")[0] for key in arrays} - {"configs"})
    settings = json.loads(str(arrays["configs"]))
    assert len(names) == len({json.dumps(s) for s in settings}) > 0
    found = []
    for name in names:
        own = {
            key.removeprefix(f"{name}/"): array
            for key, array in arrays.items()
            if key.startswith(f"{name}/")
        }
        (config,) = [c for c in settings if _is_named(c, name)]
        found.append((configs.build(ddgan_names.chain_piece(config)), own))
    return found


def _is_named(config, name):
    kind = "geometric" if config["use_geometric"] else "vp"
    low, high = (f"{config[key]:g}" for key in ("beta_min", "beta_max"))
    return name in (
        f"T{config['num_timesteps']}_{kind}_{low}_{high}",
        f"T{config['num_timesteps']}_{kind}",
    )


def test_tables(schedules):
    for chain, stored in schedules:
        table = chain.table
        # The first published entry is a step of variance 1e-8, which we do without.
        pairs = {
            "betas": table.beta,
            "sigmas": np.sqrt(table.beta),
            "a_s": np.sqrt(1 - table.beta),
            "a_s_cum": np.sqrt(table.abar),
            "sigmas_cum": np.sqrt(1 - table.abar),
        }
        for name, ours in pairs.items():
            np.testing.assert_allclose(ours, stored[name][1:], rtol=2e-5, err_msg=name)
        posterior = {
            "betas": table.beta,
            "alphas_cumprod": table.abar,
            "posterior_variance": table.var,
            "posterior_mean_coef1": table.c0,
            "posterior_mean_coef2": table.c1,
        }
        for name, ours in posterior.items():
            found = stored[f"post/{name}"]
            np.testing.assert_allclose(ours, found, rtol=2e-4, atol=2e-6, err_msg=name)


def test_forward_pairs_and_posterior(schedules):
    for chain, stored in schedules:
        level = jnp.asarray(stored["q/t"], jnp.int32) + 1
        x0, eps, step = (
            nhwc(stored[f"q/{k}"]) for k in ("x0", "noise_xt", "noise_step")
        )
        pair = chain.pair(x0, level, eps, step)
        assert_close(pair.cleaner, nhwc(stored["q/x_t"]))
        assert_close(pair.noisier, nhwc(stored["q/x_tp1"]))
        found = chain.posterior(
            x0, nhwc(stored["p/x_tp1"]), level, nhwc(stored["p/noise"])
        )
        assert_close(found, nhwc(stored["p/x_pos_sample"]))


@pytest.fixture(params=fixtures_with("zemb", "sampling/*"))
def generator(request):
    return load(Generated, request.param)


def test_generator(generator):
    assert_close(generator.computed[0], generator["out"])


def test_style(generator):
    network, params = generator.network, generator.params["mapping"]
    module = Mapping(network.style_channels, network.mapping_layers)
    assert_close(module.apply({"params": params}, generator["z"]), generator["zemb"])


def test_samples(generator):
    _, done = generator.computed
    assert int(done.nfe) == generator.config["num_timesteps"]
    assert_close(done.u, generator["sampling/out"], 1e-4)


def test_generator_survives_the_round_trip(generator):
    back = ddgan_names.write_generator(generator.params, fir=generator.network.fir)
    assert list(back) == generator.json("sd_key_order")
    for name, tensor in generator.state.items():
        np.testing.assert_array_equal(back[name], tensor)


@pytest.fixture(params=fixtures_with("D_real", "x_pos_sample"))
def judged(request):
    return load(Judged, request.param)


def test_pairs_that_are_judged(judged):
    f = judged
    pair = f.chain.pair(f["x0"], f.level, f["noise_xt"], f["noise_step"])
    assert_close(pair.cleaner, f["x_t"])
    assert_close(pair.noisier, f["x_tp1"])
    assert_close(f.fake(f["x0_pred"]), f["x_pos_sample"])


def test_losses(judged):
    found, _, _ = judged.computed
    real, fake = found["D_real"], found["D_fake"]
    assert_close(real, judged["D_real"])
    assert_close(fake, judged["D_fake"])
    halves = {
        "loss_D_real": discriminator_loss(real, jnp.full_like(fake, -jnp.inf)),
        "loss_D_fake": discriminator_loss(jnp.full_like(real, jnp.inf), fake),
        "loss_G": found["loss_G"],
        "r1_penalty": found["r1_penalty"],
    }
    for name, values in halves.items():
        np.testing.assert_allclose(jnp.mean(values), judged[name], rtol=2e-5)
    both = jnp.mean(discriminator_loss(real, fake))
    stored = judged["loss_D_real"] + judged["loss_D_fake"]
    np.testing.assert_allclose(both, stored, rtol=1e-5)


def test_gradients_of_images(judged):
    """Of the real pair's cleaner image, and of the guess through the posterior."""
    found, gradients, _ = judged.computed
    for name, gradient in gradients.items():
        assert_close(gradient, judged[name], 1e-4)
    squares = jnp.sum(judged["grad_D_real_wrt_x_t"] ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(found["squares"], squares, rtol=1e-4)


def test_gradients_of_the_discriminator(judged):
    names = judged.json("grad_names_D_total")
    norms = dict(zip(names, judged.arrays["grad_norms_D_total"], strict=True))
    ours = ddgan_names.write_discriminator(judged.computed[2])
    assert ours.keys() == norms.keys()
    total = float(np.linalg.norm(list(norms.values())))
    for name, norm in norms.items():
        found = np.linalg.norm(ours[name])
        np.testing.assert_allclose(found, norm, rtol=1e-4, atol=1e-6 * total)
    stored = [key for key in judged.arrays if key.startswith("grad_D_total/")]
    assert stored
    for key in stored:
        expected = judged.arrays[key]
        found = ours[key.removeprefix("grad_D_total/")][: len(expected)]
        # In float64 the entry that differs most is 2e-6 from theirs, 9e-6 from ours.
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=3e-6 * total)


def test_gradients_of_the_generator(judged):
    """Through discriminator, posterior and generator, where the file has them."""
    f = judged
    if "generator_file" not in f.arrays:
        pytest.skip("the file's guess is no generator's")
    path = golden_dir() / f"{f.json('generator_file')}.npz"
    own = load(Generated, path)

    def loss(params):
        x0 = own.guess(params, f["x_tp1"], f.level, f["z"])
        return jnp.mean(generator_loss(f.logits(f.params, f.fake(x0)))), x0

    compiled = jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options=QUICK)
    (value, x0), gradients = compiled(own.params)
    assert_close(x0, f["x0_pred"])
    np.testing.assert_allclose(value, f["loss_G_full"], rtol=1e-5)
    names = f.json("grad_names_G")
    norms = dict(zip(names, f.arrays["grad_norms_G"], strict=True))
    ours = ddgan_names.write_generator(gradients, fir=own.network.fir)
    assert ours.keys() == norms.keys()
    total = float(np.linalg.norm(list(norms.values())))
    for name, norm in norms.items():
        found = np.linalg.norm(ours[name])
        np.testing.assert_allclose(found, norm, rtol=1e-4, atol=1e-6 * total)


def test_discriminator_survives_the_round_trip(judged):
    back = ddgan_names.write_discriminator(judged.params)
    assert list(back) == judged.json("sd_key_order")
    for name, tensor in judged.state.items():
        np.testing.assert_array_equal(back[name], tensor)
