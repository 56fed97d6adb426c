r"""How noisy the time integral's estimators are, and whether they are right.

Latents are Gaussian and the score network is replaced by the exact predictor of
Gaussian data of another variance: imperfect in a known way, so that

    I = int_{t_min}^1 w(t) E |eps - eps_hat(z_t, t)|^2 dt                  (1)

is a quadrature of a closed form, and so is the variance of an estimator
(``lsgm.benchmarks.time_integral``): times proposed for another weighting have tails
too heavy to measure it. Every mean comes from ``ScorePrior.terms`` in float32, as in
training. Variances are over times and noise, the data given. As a check they are
measured too: each batch of latents is looked at twice with independent draws, and half
the mean square of the difference of the two batch means, times the batch size, is the
variance per example.
"""

import csv
import dataclasses
import functools
import math
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lsgm import numerics
from lsgm.benchmarks.time_integral import (
    DATA_VAR,
    MODEL_VAR,
    Z_SHAPE,
    Moments,
    gain,
    moments,
    quadrature,
)
from lsgm.files import write_file
from lsgm.objectives.time_sampling import Importance, TimeSampler, Uniform
from lsgm.objectives.weighting import (
    LikelihoodWeighting,
    Rescaled,
    Reweighted,
    Unweighted,
    Weighting,
)
from lsgm.priors.score import GROUP, ScoreDraws, ScorePrior
from lsgm.reports.markdown import markdown_table
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.sdes.geometric import GeometricVPSDE
from lsgm.sdes.power import PowerVPSDE
from lsgm.sdes.scalar import ScalarSDE
from lsgm.sdes.subvpsde import SubVPSDE
from lsgm.sdes.vesde import VESDE
from lsgm.sdes.vpsde import VPSDE
from lsgm.typing import Array, PRNGKey, PRNGKeys

SDES: dict[str, ScalarSDE] = {
    "VPSDE": VPSDE(),
    "geometric VPSDE": GeometricVPSDE(),
    "power VPSDE": PowerVPSDE(),
    "sub-VPSDE": SubVPSDE(),
    "VESDE": VESDE(var_max=50.0),
}
WEIGHTINGS: dict[str, Weighting] = {
    "likelihood": LikelihoodWeighting(),
    "reweighted": Reweighted(),
    "unweighted": Unweighted(),
    "rescaled": Rescaled(),
}
# The bound as ScorePrior estimates it by default: Eq. (3) there.
CONTROLLED = "likelihood - control"


@dataclasses.dataclass(frozen=True)
class GaussianPredictor:
    """The noise predictor of N(0, variance) data, where a network is expected."""

    sde: ScalarSDE
    variance: float

    def apply(
        self, variables: Any, u: Array, t: Array, **settings: Any
    ) -> tuple[Array, dict[str, Any]]:
        del variables, settings
        return numerics.expand_to(gain(self.sde, t, self.variance), u) * u, {}


@dataclasses.dataclass(frozen=True)
class EstimatorRow:
    """One estimator.

    Attributes:
      mean: of Eq. (1), nats where the weighting is the likelihood's.
      standard_error: of that, by quadrature.
      exact: the quadrature of Eq. (1).
      variance: per example, over times and noise, by quadrature.
      measured: the same from the draws.
      relative: the variance over that with uniform times.
      note: what is wrong, where something is.
    """

    sde: str
    weighting: str
    times: str
    mean: float
    standard_error: float
    exact: float
    variance: float
    measured: float
    relative: float
    note: str


def rows(batches: int, batch_size: int, t_min: float) -> Iterator[EstimatorRow]:
    """Every process with every weighting and time sampler, uniform times first."""
    for sde_name, sde in SDES.items():
        uniform: dict[str, float] = {}
        exact = {
            name: quadrature(sde, weighting, t_min)
            for name, weighting in WEIGHTINGS.items()
            if is_weight(sde, weighting, t_min)
        }
        for name in WEIGHTINGS.keys() - exact.keys():
            note = "no weight: negative or infinite for this process"
            yield EstimatorRow(sde_name, name, "any", *(math.nan,) * 6, note=note)
        exact[CONTROLLED] = exact["likelihood"]
        for times, sampler in time_samplers(t_min).items():
            try:
                found = batch_means(sde, sampler, batches, batch_size)
            except ValueError as error:  # the proposal is not a density
                for name in exact:
                    where = (sde_name, name, times)
                    yield EstimatorRow(*where, *(math.nan,) * 6, note=str(error))
                continue
            for name in exact:
                where = (sde_name, name, times)
                known = estimator_moments(sde, name, sampler, batch_size)
                row = summary(where, found[name], exact[name], known, batch_size)
                base = uniform.setdefault(name, row.variance)
                yield dataclasses.replace(row, relative=row.variance / base)


def estimator_moments(
    sde: ScalarSDE, name: str, times: TimeSampler, batch_size: int
) -> Moments:
    """Exact moments of the estimator of this name, ``CONTROLLED`` included."""
    weighting = WEIGHTINGS.get(name, LikelihoodWeighting())
    return moments(sde, weighting, times, batch_size, control=name == CONTROLLED)


def is_weight(sde: ScalarSDE, weighting: Weighting, t_min: float) -> bool:
    """Whether w(t) is finite and not negative at all times."""
    w = numerics.on_host(lambda t: weighting(sde, t), np.linspace(t_min, 1, 1000)[1:])
    return bool(np.isfinite(w).all() and (w >= 0).all())


def time_samplers(t_min: float) -> dict[str, TimeSampler]:
    """By name: uniform times, and those proposed for each weighting; each also
    stratified over the batch."""
    plain: dict[str, TimeSampler] = {"uniform": Uniform(t_min=t_min)}
    for name, weighting in WEIGHTINGS.items():
        plain[f"for {name}"] = Importance(weighting=weighting, t_min=t_min)
    stratified = {
        f"{name}, stratified": dataclasses.replace(sampler, stratified=True)
        for name, sampler in plain.items()
    }
    return plain | stratified


def batch_means(
    sde: ScalarSDE, times: TimeSampler, batches: int, batch_size: int
) -> dict[str, np.ndarray]:
    """Estimates of Eq. (1) by weighting, [batches 2]: two of the same data.

    Raises:
      ValueError: the time sampler has no density for this process.
    """
    params: dict[str, Any] = {GROUP: {"network": {}}}
    mutables = {GROUP: {"active": jnp.ones(Z_SHAPE[-1])}}
    constant = sde.bound_constant(times.t_min) * math.prod(Z_SHAPE)

    def estimate(z0: Array, random: ScoreDraws) -> dict[str, Array]:
        found = {}
        for name, weighting in WEIGHTINGS.items():
            prior = score_prior(sde, times, weighting)
            terms = prior.terms(
                params, mutables, random, z0, step=jnp.int32(0), train=False
            )
            found[name] = jnp.mean(terms.losses[GROUP])
            if name == "likelihood":
                assert terms.cross_entropy is not None
                total = numerics.sum_per_example(terms.cross_entropy)
                found[CONTROLLED] = jnp.mean(total) - constant
        return found

    each = jax.vmap(jax.vmap(estimate, in_axes=(None, 0)))
    data = draws(times.stratified, batches, batch_size)
    return jax.tree.map(np.asarray, jax.jit(each)(*data))


def score_prior(sde: ScalarSDE, times: TimeSampler, weighting: Weighting) -> ScorePrior:
    """The prior whose estimators are looked at."""
    return ScorePrior(
        sde=sde,
        network=GaussianPredictor(sde, MODEL_VAR),
        weighting=weighting,
        time_sampler=times,
        sampler=ProbabilityFlow(),
        mixed=False,
        boundary_term=False,
    )


@functools.cache
def draws(stratified: bool, batches: int, batch_size: int) -> tuple[Array, ScoreDraws]:
    """Latents [batches b h w c], and two sets of draws for each batch; the same for
    all estimators."""
    times, indices = Uniform(stratified=stratified), jnp.arange(batch_size)

    def rho(shared: PRNGKey, each: PRNGKeys) -> Array:
        return times.rho(shared, each, indices, batch_size)

    data_key, noise_key, *keys = jax.random.split(jax.random.key(0), 4)
    z0 = jax.random.normal(data_key, (batches, batch_size, *Z_SHAPE))
    eps = jax.random.normal(noise_key, (batches, 2, batch_size, *Z_SHAPE))
    shared = jax.random.split(keys[0], (batches, 2))
    each = jax.random.split(keys[1], (batches, 2, batch_size))
    rhos = jax.jit(jax.vmap(jax.vmap(rho)))(shared, each)
    return DATA_VAR**0.5 * z0, ScoreDraws(eps=eps, rho=rhos, rho_encoder=None)


def summary(
    where: tuple[str, str, str],
    means: np.ndarray,
    exact: float,
    known: Moments,
    batch_size: int,
) -> EstimatorRow:
    """Mean and measured variance from pairs of batch means [batches 2]."""
    means = means.astype(np.float64)
    bad = np.count_nonzero(~np.isfinite(means).all(1))
    if bad:
        note = f"{bad} of {len(means)} not finite"
        none = math.nan
        return EstimatorRow(*where, none, none, exact, none, none, none, note)
    return EstimatorRow(
        *where,
        mean=means.mean(),
        standard_error=known.standard_error(len(means), batch_size),
        exact=exact,
        variance=known.variance,
        measured=float(batch_size * np.mean(np.diff(means) ** 2) / 2),
        relative=math.nan,
        note="",
    )


def markdown(
    found: list[EstimatorRow], batches: int, batch_size: int, t_min: float
) -> str:
    """The rows as tables, one for each process and weighting."""
    lines = [
        "# Variance of the time integral's estimators",
        "",
        f"{batches} pairs of batches of {batch_size}; latents of {math.prod(Z_SHAPE)} "
        f"dimensions, variance {DATA_VAR} under a predictor for {MODEL_VAR}; times "
        f"from {t_min:g}. Variances are per example, over times and noise. They and "
        "standard errors are by quadrature; the last column compares the draws' own.",
    ]
    header = ["times", "mean", "s.e.", "(mean - exact) / s.e.", "variance / uniform's"]
    header.append("measured / exact")
    for sde in SDES:
        for weighting in [*WEIGHTINGS, CONTROLLED]:
            part = [r for r in found if (r.sde, r.weighting) == (sde, weighting)]
            exact = next((r.exact for r in part if not math.isnan(r.exact)), math.nan)
            lines += ["", f"## {sde}, {weighting}: exact {exact:.5g}", ""]
            lines += markdown_table(header, [_cells(row) for row in part], texts=1)
    return "\n".join(lines) + "\n"


def write(found: list[EstimatorRow], text: str, folder: pathlib.Path) -> None:
    """``variance.md`` and ``variance.csv``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / "variance.md", text)
    with (folder / "variance.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([field.name for field in dataclasses.fields(EstimatorRow)])
        table.writerows(dataclasses.astuple(row) for row in found)


def _cells(row: EstimatorRow) -> list[str]:
    if row.note:
        return [row.times, row.note, "", "", "", ""]
    away = (row.mean - row.exact) / row.standard_error
    return [
        row.times,
        f"{row.mean:.5g}",
        f"{row.standard_error:.2g}",
        f"{away:+.1f}",
        f"{row.relative:.3g}",
        f"{row.measured / row.variance:.3g}",
    ]
