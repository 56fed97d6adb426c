"""SDEs, weights and time samplers against the published implementation.

Fixtures hold the reference's float32 numbers and, as ``<key>__from64``, the same
program in float64, which then is the target. A number without that is compared as
far as the reference's form 1 - exp(-x) has kept its digits in float32.
"""

import json
import re

import jax.numpy as jnp
import numpy as np
import pytest

from lsgm import config as configs
from lsgm.interop import published_config
from lsgm.numerics import on_host
from lsgm.objectives.time_sampling import Importance, Uniform
from lsgm.objectives.weighting import (
    LikelihoodWeighting,
    Rescaled,
    Reweighted,
    Unweighted,
)
from lsgm.sdes.subvpsde import SubVPSDE
from lsgm.sdes.vesde import VESDE
from lsgm.sdes.vpsde import VPSDE
from tests.golden.files import fixtures_with

WEIGHTINGS = {
    "ll": LikelihoodWeighting(),
    "drop_all": Unweighted(),
    "drop_sigma2t": Reweighted(),
    "rescale": Rescaled(),
}
# What a fixture of this kind holds.
PROCESS = ("config", "rho", "e2int_f")
# Rounding of a float32 number below one.
ULP = 6e-8


def make_sde(config):
    return configs.build(published_config.sde_piece(config))


def lost_digits(sde, t):
    """Relative error of what the reference makes of 1 - exp(-x) in float32: of the
    linear rates alone, and twice that where it is squared."""
    if not isinstance(sde.proposal, VPSDE):
        return 0.0
    square = 2 if isinstance(sde, SubVPSDE) else 1
    x = np.asarray(sde.proposal.int_beta(jnp.atleast_1d(jnp.asarray(t))))
    return np.reshape(square * 4 * ULP / np.maximum(x, ULP), np.shape(t))


def time_sampler(mode, t_min, *, reference_compatible=True):
    """The pair's second half; LSGM's ``rescale_iw`` draws uniform times."""
    settings = {"t_min": t_min, "reference_compatible": reference_compatible}
    if mode == "rescale_iw" or mode.endswith("_uniform"):
        return Uniform(**settings)
    return Importance(weighting=WEIGHTINGS[mode.rsplit("_", 1)[0]], **settings)


class Golden:
    """One fixture: its arrays, its SDE, its tolerances."""

    def __init__(self, file):
        with np.load(file) as arrays:
            self.arrays = dict(arrays)
        self.config = json.loads(str(self.arrays["config"]))
        self.sde = make_sde(self.config)
        self.rtol = 1e-3 if isinstance(self.sde, SubVPSDE | VESDE) else 1e-4
        # One time may serve for many states.
        t = jnp.atleast_1d(jnp.asarray(self.arrays["t"]))
        self.t = jnp.broadcast_to(t, len(self.arrays["z0"]))

    def __getitem__(self, key):
        return jnp.asarray(self.arrays[key])

    def cutoffs(self):
        """(cutoff, key prefix) of all that are stored."""
        found = {key.partition("/")[0] for key in self.arrays}
        matches = (re.fullmatch(r"eps([\d.e+-]+)", name) for name in sorted(found))
        return [(float(m[1]), f"{m[0]}/") for m in matches if m]

    def modes(self, prefix):
        """(mode, key prefix) of the sampling modes stored for a cutoff."""
        folders = {
            key.rsplit("/", 1)[0] for key in self.arrays if key.startswith(prefix)
        }
        return sorted((f.split("/")[1], f + "/") for f in folders if "/" in f)

    def close(self, actual, key, t, atol=0.0, rtol=0.0):
        """``actual`` against ``key``.

        Args:
          t: times that the number belongs to.
          rtol: what the conditioning adds to the tolerance, one value per element.
        """
        target = self.arrays.get(f"{key}__from64")
        rtol = self.rtol + np.asarray(rtol)
        if target is None:
            target = self.arrays[key]
            rtol = rtol + lost_digits(self.sde, t)
        error = np.abs(np.asarray(actual) - target)
        rtol = np.reshape(rtol, rtol.shape + (1,) * (error.ndim - rtol.ndim))
        worst = np.max(error - rtol * np.abs(target))
        assert worst <= atol, (key, worst, error)


@pytest.fixture(params=fixtures_with(*PROCESS))
def golden(request):
    return Golden(request.param)


def test_coefficients_on_the_grid(golden):
    sde, t = golden.sde, golden.t
    golden.close(-0.5 * sde.beta(t), "f", t)
    golden.close(sde.g2(t), "g2", t)
    golden.close(sde.alpha(t), "e2int_f", t)
    golden.close(sde.var(t), "var", t)


def test_kernel_and_mixing_component(golden):
    sde, t = golden.sde, golden.t
    z0, mix = golden["z0"], golden["mix_x"]
    golden.close(sde.perturb(z0, t, golden["noise"]), "sample_q", t, atol=golden.rtol)
    golden.close(sde.normal_eps(mix, t), "mixing_component", t)


def test_inverses(golden):
    """Of the variance, or for sub-VP of its companion's."""
    sde, t = golden.sde.proposal, golden.t
    suffix = "" if sde is golden.sde else "_vpsde"
    times = sde.inv_var(golden["inv_var_in"])
    golden.close(times, f"inv_var{suffix}", times, atol=1e-6)
    if "inv_var_roundtrip__from64" in golden.arrays:
        back = sde.inv_var(sde.var(t))
        exact = golden.arrays["inv_var_roundtrip__from64"]
        # Near t = 1 the variance itself is held to one float32 rounding only.
        np.testing.assert_allclose(back, exact, rtol=golden.rtol, atol=1e-4)
    if suffix:
        golden.close(sde.var(t), "var_vpsde", t)


def test_normal_variance_of_the_variance_exploding_process(golden):
    if "var_N" not in golden.arrays:
        pytest.skip("stored for this process only")
    sde, t = golden.sde, golden.t
    golden.close(sde.normal_var(t), "var_N", t)
    # Back from the stored number, in which the growth is rounded like the whole.
    stored = np.asarray(golden.arrays["var_N"], np.float64)
    growth = stored - 1
    integral = sde.reweighted_integral()
    back = on_host(integral.inverse, 0.5 * sde.data_var * np.log(stored))
    limit = 4 * ULP * stored / np.maximum(growth, ULP) / sde.log_ratio
    assert np.all((np.abs(back - t) <= limit + 1e-6) | (growth <= 4 * ULP))


def test_modes_as_pairs_of_weight_and_density(golden):
    """Every stored mode is one weighting and one time sampler."""
    sde, rho = golden.sde, golden["rho"]
    assert golden.cutoffs()
    for t_min, folder in golden.cutoffs():
        constant = sde.bound_constant(t_min)
        golden.close(constant, f"{folder}cross_entropy_const", t_min)
        modes = golden.modes(folder)
        assert modes
        for mode, prefix in modes:
            t, density = time_sampler(mode, t_min).times(sde, rho)
            # One float32 rounding of t moves 1 - var by beta times that.
            rounding = 2e-7 * np.asarray(sde.beta(t))
            weighting = WEIGHTINGS[mode.rsplit("_", 1)[0]]
            weight = weighting(sde, t) / density
            golden.close(t, prefix + "t", t)
            golden.close(sde.var(t), prefix + "var_t", t)
            golden.close(sde.alpha(t), prefix + "m_t", t, rtol=rounding)
            golden.close(sde.g2(t), prefix + "g2_t", t, rtol=rounding)
            # Broadcasts against the one element stored for drop_all_uniform.
            golden.close(weight, prefix + "obj_weight_t", t, rtol=rounding)
            likelihood = LikelihoodWeighting()(sde, t) / density
            golden.close(likelihood, prefix + "obj_weight_t_ll", t, rtol=rounding)


def test_corrected_modes_differ_by_the_published_factors(golden):
    """Without reference_compatible: (1 - t_min) for uniform times, the normaliser
    for the unweighted proposal of linear rates, nothing else."""
    sde, rho = golden.sde, golden["rho"]
    for t_min, folder in golden.cutoffs():
        for mode, prefix in golden.modes(folder):
            sampler = time_sampler(mode, t_min, reference_compatible=False)
            t, density = sampler.times(sde, rho)
            factor = 1.0
            if isinstance(sampler, Uniform):
                factor = 1 - t_min
            elif (
                mode == "drop_all_iw" and f"{folder}const_norm__from64" in golden.arrays
            ):
                integral = sde.proposal.unweighted_integral()
                low, high = on_host(integral.value, [t_min, 1.0])
                published = golden.arrays[f"{folder}const_norm__from64"]
                factor = (high - low) / published
            weight = LikelihoodWeighting()(sde, t) / density / factor
            key, rounding = f"{prefix}obj_weight_t_ll", 2e-7 * np.asarray(sde.beta(t))
            golden.close(weight, key, t, rtol=rounding)


def test_modes_that_the_reference_lacks(golden):
    """For them there is a density here all the same."""
    lacking = json.loads(str(golden.arrays.get("modes_not_available", "[]")))
    if not lacking:
        pytest.skip("it has them all")
    for name in lacking:
        mode = name.split("/")[0]
        sampler = time_sampler(mode, 1e-2)
        t, density = sampler.times(golden.sde, jnp.linspace(0, 0.999, 2001))
        total = np.trapezoid(density, t)
        np.testing.assert_allclose(total, 1, atol=5e-3)
