"""SDEs, weights and time samplers against the published implementation.

Fixtures hold the reference's float32 numbers and, as ``<key>__from64``, the same
program in float64. At small times its float32 form 1 - exp(-x) has lost its
digits: there the float64 numbers are the target, and the float32 ones only have to
be near.
"""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from lsgm.numerics import on_host
from lsgm.objectives.time_sampling import Importance, Uniform
from lsgm.objectives.weighting import (
    LikelihoodWeighting,
    Rescaled,
    Reweighted,
    Unweighted,
)
from lsgm.sdes.geometric import GeometricVPSDE
from lsgm.sdes.subvpsde import SubVPSDE
from lsgm.sdes.vesde import VESDE
from lsgm.sdes.vpsde import VPSDE
from tests.conftest import golden_files

WEIGHTINGS = {
    "ll": LikelihoodWeighting(),
    "drop_all": Unweighted(),
    "drop_sigma2t": Reweighted(),
    "rescale": Rescaled(),
}
# The reference loses digits of its own at t = 1e-3 and below, and everywhere when
# the integral starts at 1e-5.
SMALL_TIME = 1e-3


def make_sde(config):
    kind = config["sde_type"]
    linear = {
        "beta_0": config["beta_start"],
        "beta_1": config["beta_end"],
        "var_0": config["sigma2_0"],
    }
    variances = {"var_min": config["sigma2_min"], "var_max": config["sigma2_max"]}
    if kind == "vpsde":
        return VPSDE(**linear)
    if kind == "sub_vpsde":
        return SubVPSDE(**linear)
    if kind == "geometric_sde":
        return GeometricVPSDE(**variances, var_0=config["sigma2_0"])
    return VESDE(**variances)


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
        exact = self.config["sde_type"] in ("vpsde", "geometric_sde")
        self.rtol = 1e-4 if exact else 1e-3
        # The sub-VP variance is the square of what the reference loses digits of.
        self.rough = 0.5 if self.config["sde_type"] == "sub_vpsde" else 0.25

    def __getitem__(self, key):
        return jnp.asarray(self.arrays[key])

    def modes(self, t_min):
        """(mode, key prefix) of the sampling modes stored for a cutoff."""
        prefix = f"eps{t_min:g}/"
        folders = {
            key.rsplit("/", 1)[0] for key in self.arrays if key.startswith(prefix)
        }
        return sorted((f.split("/")[1], f + "/") for f in folders if "/" in f)

    def close(self, actual, key, small=False, atol=0.0, rtol=0.0):
        """``actual`` against ``key``.

        Args:
          small: where the float64 numbers are the target.
          rtol: what the conditioning adds to the tolerance, one value per element.
        """
        stored = self.arrays[key]
        exact = self.arrays.get(key + "__from64", stored)
        rtol = self.rtol + np.asarray(rtol)
        rough = np.where(small, self.rough, rtol)
        for target, tolerance in ((exact, rtol), (stored, rough)):
            error = np.abs(np.asarray(actual) - target)
            worst = np.max(error - tolerance * np.abs(target))
            assert worst <= atol, (key, worst, error)


@pytest.fixture(params=golden_files("sde_*.npz"))
def golden(request):
    return Golden(request.param)


def per_time(small, like):
    return np.reshape(small, small.shape + (1,) * (like.ndim - 1))


def test_coefficients_on_the_grid(golden):
    sde, t = golden.sde, golden["t"]
    small = np.asarray(t) <= SMALL_TIME * (1 + 1e-6)
    golden.close(-0.5 * sde.beta(t), "f", small)
    golden.close(sde.g2(t), "g2", small)
    golden.close(sde.alpha(t), "e2int_f", small)
    golden.close(sde.var(t), "var", small)


def test_kernel_and_mixing_component(golden):
    sde, t = golden.sde, golden["t"]
    z0, mix = golden["z0"], golden["mix_x"]
    small = per_time(np.asarray(t) <= SMALL_TIME * (1 + 1e-6), z0)
    golden.close(
        sde.perturb(z0, t, golden["noise"]), "sample_q", small, atol=golden.rtol
    )
    golden.close(sde.normal_eps(mix, t), "mixing_component", small)


def test_inverses(golden):
    """Of the variance, or for sub-VP of its companion's."""
    sde, t = golden.sde.proposal, golden["t"]
    suffix = "_vpsde" if golden.config["sde_type"] == "sub_vpsde" else ""
    golden.close(sde.inv_var(golden["inv_var_in"]), "inv_var" + suffix, atol=1e-6)
    if "inv_var_roundtrip" in golden.arrays:
        back = sde.inv_var(sde.var(t))
        exact = golden.arrays["inv_var_roundtrip__from64"]
        # Near t = 1 the variance itself is held to one float32 rounding only.
        np.testing.assert_allclose(back, exact, rtol=golden.rtol, atol=1e-4)
    if suffix:
        small = np.asarray(t) <= SMALL_TIME * (1 + 1e-6)
        golden.close(sde.var(t), "var_vpsde", small)


def test_normal_variance_of_the_variance_exploding_process(golden):
    if "var_N" not in golden.arrays:
        pytest.skip("stored for this process only")
    t = golden["t"]
    golden.close(golden.sde.normal_var(t), "var_N")
    later = np.asarray(t) >= 1e-2
    growth = golden.arrays["inv_var_N__from64"][later]
    np.testing.assert_allclose(np.asarray(t)[later], growth, rtol=1e-3)


def test_modes_as_pairs_of_weight_and_density(golden):
    """Every stored mode is one weighting and one time sampler."""
    sde, rho = golden.sde, golden["rho"]
    for t_min in golden.config["time_eps_list"]:
        small = t_min <= SMALL_TIME
        golden.close(
            sde.bound_constant(t_min), f"eps{t_min:g}/cross_entropy_const", small
        )
        modes = golden.modes(t_min)
        assert modes
        for mode, prefix in modes:
            t, density = time_sampler(mode, t_min).times(sde, rho)
            # One float32 rounding of t moves 1 - var by beta times that.
            rounding = 2e-7 * np.asarray(sde.beta(t))
            weighting = WEIGHTINGS[mode.rsplit("_", 1)[0]]
            weight = weighting(sde, t) / density
            golden.close(t, prefix + "t", small)
            golden.close(sde.var(t), prefix + "var_t", small)
            golden.close(sde.alpha(t), prefix + "m_t", small, rtol=rounding)
            golden.close(sde.g2(t), prefix + "g2_t", small, rtol=rounding)
            # Broadcasts against the one element stored for drop_all_uniform.
            golden.close(weight, prefix + "obj_weight_t", small, rtol=rounding)
            likelihood = LikelihoodWeighting()(sde, t) / density
            golden.close(likelihood, prefix + "obj_weight_t_ll", small, rtol=rounding)


def test_corrected_modes_differ_by_the_published_factors(golden):
    """Without reference_compatible: (1 - t_min) for uniform times, the normaliser
    for the unweighted proposal of linear rates, nothing else."""
    sde, rho = golden.sde, golden["rho"]
    for t_min in golden.config["time_eps_list"]:
        for mode, prefix in golden.modes(t_min):
            sampler = time_sampler(mode, t_min, reference_compatible=False)
            t, density = sampler.times(sde, rho)
            factor = 1.0
            if isinstance(sampler, Uniform):
                factor = 1 - t_min
            elif mode == "drop_all_iw" and f"eps{t_min:g}/const_norm" in golden.arrays:
                integral = sde.proposal.unweighted_integral()
                low, high = on_host(integral.value, [t_min, 1.0])
                published = golden.arrays[f"eps{t_min:g}/const_norm__from64"]
                factor = (high - low) / published
            exact = golden.arrays[prefix + "obj_weight_t_ll__from64"] * factor
            error = np.abs(LikelihoodWeighting()(sde, t) / density / exact - 1)
            assert np.all(error <= golden.rtol + 2e-7 * sde.beta(t)), (mode, error)


def test_modes_that_the_reference_lacks(golden):
    """For them there is a density here all the same."""
    lacking = json.loads(str(golden.arrays["modes_not_available"]))
    if not lacking:
        pytest.skip("it has them all")
    for name in lacking:
        mode = name.split("/")[0]
        sampler = time_sampler(mode, 1e-2)
        t, density = sampler.times(golden.sde, jnp.linspace(0, 0.999, 2001))
        total = np.trapezoid(density, t)
        np.testing.assert_allclose(total, 1, atol=5e-3)
