r"""A tournament: every sampler on one trained model, at 1 to 50 network calls.

In each round (a seed) all entries start from the same noise and are compared with the
same latents of the encoder. An entry's latents are judged by

- rms: root mean square distance to the ODE's solution from the same noise, which is
  RK45's at the tightest tolerance; a Normal start solves another problem;
- log_q: E[log q], nats, under the exact aggregate posterior
  (``lsgm.benchmarks.aggregate_posterior``), where it is known;
- c2st: how often a classifier tells them from the encoder's latents; 0.5 is never;
- kernel, frechet: distances of the decoded images to held-out real ones, under the
  config's feature extractor, where it names one.

Plain noise and the encoder's own latents are judged as well, as the two ends. The
variant that a family plays with is chosen at 2, 4 and 8 calls, in a round of its
own that scores nothing, by the mean of its ranks in the distance of log_q to the
encoder's, c2st, and kernel; at other numbers of calls the choice of the nearest holds.

Samplers run as they are, but with their loops in Python (``jax.disable_jit``) around
one compiled call of the network: one compilation serves all, and calls are counted
here, where they are made. Seconds are of that loop.
"""

import dataclasses
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from scipy.stats import rankdata

from lsgm import numerics
from lsgm.benchmarks.aggregate_posterior import (
    AggregatePosterior,
    NotNormalError,
    aggregate_posterior,
    training_images,
)
from lsgm.benchmarks.sampler_entries import (
    CONVERGED,
    Family,
    adaptive,
    described,
    families,
    with_calls,
)
from lsgm.config import ConfigError
from lsgm.evaluation.subject import Subject
from lsgm.features.real_images import real_images
from lsgm.samplers.base import Sampler, require_finite
from lsgm.samplers.fixed_grid import FixedGrid
from lsgm.sdes.scalar import ScalarSDE
from lsgm.statistics import frechet
from lsgm.statistics.kernel import kernel_distance
from lsgm.statistics.two_sample import told_apart
from lsgm.typing import Array, Batch, Time

CALLS = (1, 2, 3, 4, 5, 6, 8, 10, 20, 50)
CHOSEN_AT = (2, 4, 8)
# Seeds of the round that chooses, and of latents beside those of a round.
CHOOSING, ANOTHER = 2**20, 2**21
METRICS = ("rms", "log_q", "c2st", "kernel", "frechet")
# Lower is better, once log_q is its distance to the encoder's.
JUDGING = ("log_q", "c2st", "kernel")
NOISE, ENCODER = "plain noise", "encoder's latents"


@dataclasses.dataclass(frozen=True)
class EntryRow:
    """One entry in one round.

    Attributes:
      calls: network calls asked for; of adaptive solvers those that were made.
      nfe: network calls made, as counted here.
      seconds: per sample, for the prior's part.
      rms ... frechet: see above; NaN where not computed.
    """

    family: str
    variant: str
    calls: int
    seed: int
    nfe: int
    seconds: float
    rms: float
    log_q: float
    c2st: float
    kernel: float
    frechet: float


class SamplerRun(NamedTuple):
    """What a sampler made: calls, seconds per sample, latents."""

    nfe: int
    seconds: float
    z0: np.ndarray


class Round(NamedTuple):
    """What all entries of a seed share: initial noise, the ODE's solution from there
    (None where nothing is compared with it), the encoder's latents, the noise of
    scales that the prior does not model."""

    seed: int
    u1: Array
    solved: SamplerRun | None
    latents: np.ndarray
    rest: tuple[Array, ...]


class Counted:
    """A residual function that is compiled once and counts its calls on the host."""

    def __init__(self, residual: Callable[[Array, Time], Array]):
        self.residual, self.calls = jax.jit(residual), 0

    def __call__(self, u: Array, t: Time) -> Array:
        # diffrax also traces it for the result's shape.
        self.calls += not isinstance(u, Tracer)
        with jax.disable_jit(False):
            return self.residual(u, t)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How much is played.

    Attributes:
      seeds, num_samples: rounds, and latents of each entry in a round, drawn as one
        batch.
      calls: numbers of network calls for the fixed-grid samplers.
      num_draws: draws of binarised pixels per training image, for log q.
    """

    seeds: int = 5
    num_samples: int = 100
    calls: tuple[int, ...] = CALLS
    num_draws: int = 5


def play(subject: Subject, settings: Settings) -> tuple[list[EntryRow], list[str]]:
    """All rows of all rounds, and what had to be left out."""
    tournament = Tournament(subject, settings.num_samples, settings.num_draws)
    calls, seeds = settings.calls, settings.seeds
    playing = tournament.families()
    chosen = choose(tournament, playing, calls)
    rows: list[EntryRow] = []
    for seed in range(seeds):
        round_ = tournament.round(seed)
        print(f"round {seed + 1} of {seeds}", file=sys.stderr)
        rows += tournament.ends(round_)
        for name, flow in adaptive().items():
            rows.append(tournament.play(name, flow, round_))
        for family in playing:
            for number in family.calls(calls):
                sampler = with_calls(chosen[family.name, number], number)
                rows.append(tournament.play(family.name, sampler, round_, number))
    return rows, tournament.notes


def choose(
    tournament: "Tournament", playing: Sequence[Family], calls: Sequence[int]
) -> dict[tuple[str, int], FixedGrid]:
    """The variant of each family at each number of calls."""
    round_ = tournament.round(CHOOSING, solve=False)
    encoder = list(tournament.ends(round_))[-1]
    print("choosing variants", file=sys.stderr)
    chosen = {}
    for family in playing:
        at = {c: _nearest(c, family.only[:1] or CHOSEN_AT) for c in family.calls(calls)}
        best = {
            number: _best(tournament, family, round_, number, encoder.log_q)
            for number in sorted(set(at.values()))
        }
        chosen |= {(family.name, c): best[number] for c, number in at.items()}
    return chosen


def _nearest(calls: int, numbers: Sequence[int]) -> int:
    return min(numbers, key=lambda number: abs(math.log(number / calls)))


def _best(
    tournament: "Tournament", family: Family, round_: "Round", calls: int, log_q: float
) -> FixedGrid:
    rows = [
        tournament.play(family.name, with_calls(variant, calls), round_, calls)
        for variant in family.variants
    ]
    found = np.array([[gap(row, name, log_q) for name in JUDGING] for row in rows])
    known = ~np.isnan(found).any(0)
    ranks = rankdata(found[:, known], axis=0).mean(1)
    return family.variants[int(np.argmin(ranks))]


def gap(row: EntryRow, metric: str, log_q: float) -> float:
    """A metric such that lower is better: of log_q, how far it is from the encoder's,
    from either side."""
    value = getattr(row, metric)
    return abs(value - log_q) if metric == "log_q" else value


class Tournament:
    """A model with what its samples are judged by."""

    def __init__(self, subject: Subject, num_samples: int, num_draws: int):
        """Compile and measure what all rounds share.

        Args:
          num_samples, num_draws: as in ``Settings``.

        Raises:
          ConfigError: the checkpoint's prior reverses no scalar diffusion.
        """
        prior: Any = subject.model.prior
        if prior.diffusion is None:
            name = type(prior).__name__
            allowed = "a tournament needs a prior with a diffusion"
            raise ConfigError("checkpoint", name, allowed)
        if not isinstance(prior.diffusion, ScalarSDE):
            name = type(prior.diffusion).__name__
            raise ConfigError("checkpoint", name, "a tournament needs a ScalarSDE")
        self.sde = prior.diffusion
        self.subject, self.prior, self.num = subject, prior, num_samples
        self.notes: list[str] = []
        self.network = Counted(prior.residual_fn(subject.params, subject.mutables))
        self.decode = jax.jit(
            lambda *z: subject.model.decode(subject.params, subject.mutables, *z)
        )
        self.encode = jax.jit(self._encode)
        self.mixture = self._mixture(num_draws)
        self.real = self._real()

    def families(self) -> list[Family]:
        """Families that are valid for the process; others are noted."""
        found = []
        for family in families(self.sde):
            try:
                family.variants[0].check(self.sde)
            except ValueError as error:
                self.notes.append(f"{family.name} does not play: {error}")
            else:
                found.append(family)
        return found

    def round(self, seed: int, *, solve: bool = True) -> Round:
        """Noise and latents of a seed, and if asked for where the ODE takes that
        noise."""
        noise, others, encoder = jax.random.split(jax.random.key(seed), 3)
        shape = (self.num, *self.subject.model.vae.prior_shape)
        u1 = self.sde.prior_sample(noise, shape)
        rest = self.subject.model.rest_latents(others, self.num)
        latents = self._latents(encoder, seed)
        start = Round(seed, u1, None, latents, rest)
        if not solve:
            return start
        return start._replace(solved=self._run(adaptive()[CONVERGED], start))

    def play(
        self, name: str, sampler: Sampler, round_: Round, calls: int = 0
    ) -> EntryRow:
        """Run a sampler and judge it."""
        done = round_.solved if name == CONVERGED else self._run(sampler, round_)
        assert done is not None
        head = (name, described(sampler), calls or done.nfe, round_.seed)
        return self.judge(round_, done.z0, (*head, done.nfe, done.seconds))

    def ends(self, round_: Round) -> Iterator[EntryRow]:
        """What is judged without a call: plain noise, and the encoder's latents."""
        scale = math.sqrt(self.sde.data_var / self.sde.prior_var)
        other = ANOTHER + round_.seed
        more = self._latents(jax.random.key(other), other)
        for name, z0 in ((NOISE, scale * round_.u1), (ENCODER, more)):
            yield self.judge(
                round_, np.asarray(z0), (name, "", 0, round_.seed, 0, math.nan)
            )

    def judge(self, round_: Round, z0: np.ndarray, head: tuple[Any, ...]) -> EntryRow:
        """All that can be said of latents [n h w c].

        Raises:
          FloatingPointError: they are not finite.
        """
        require_finite(z0, f"latents of {head[0]}")
        found = dict.fromkeys(METRICS, math.nan)
        if round_.solved is not None:
            found["rms"] = float(np.sqrt(np.mean((z0 - round_.solved.z0) ** 2)))
        flat = (z.reshape(len(z), -1) for z in (z0, round_.latents))
        found["c2st"] = told_apart(*flat, seed=round_.seed).value
        if self.mixture is not None:
            found["log_q"] = float(self.mixture.log_prob(z0).mean())
        if self.real is not None:
            images = np.asarray(self.decode(jnp.asarray(z0), round_.rest))
            fake = self.subject.settings.require_extractor()(images)
            found["kernel"] = kernel_distance(fake, self.real).value
            moments = frechet.moments
            found["frechet"] = frechet.frechet(moments([fake]), moments([self.real]))
        return EntryRow(*head, **found)

    def _run(self, sampler: Sampler, round_: Round) -> SamplerRun:
        self.network.calls, start = 0, time.perf_counter()
        key = jax.random.fold_in(jax.random.key(round_.seed), 3)
        with jax.disable_jit():
            done = sampler(key, self.sde, self.network, round_.u1)
        z0 = np.asarray(self.sde.lower(done.u))
        seconds = (time.perf_counter() - start) / self.num
        if int(done.nfe) != self.network.calls:
            made = self.network.calls
            raise RuntimeError(f"{sampler} reports {done.nfe} calls and made {made}")
        return SamplerRun(self.network.calls, seconds, z0)

    def _mixture(self, num_draws: int) -> AggregatePosterior | None:
        subject, size = self.subject, self.subject.settings.batch_size
        images = training_images(subject.data, size, num_draws)
        own = subject.params["vae"], subject.mutables["vae"]
        try:
            return aggregate_posterior(subject.model.vae, *own, images)
        except NotNormalError as error:
            self.notes.append(f"no log density: {error}")
            return None

    def _real(self) -> np.ndarray | None:
        settings = self.subject.settings
        if settings.extractor is None:
            self.notes.append("no distances of images: the config names no extractor")
            return None
        data, size = self.subject.data, settings.batch_size
        batches = real_images(
            data, settings.reference_split, size, num_bits=settings.reference_bits
        )
        return np.concatenate([settings.extractor(batch) for batch in batches])

    def _latents(self, key: Any, seed: int) -> np.ndarray:
        """The encoder's latents of training images, drawn as training draws them."""
        size = self.subject.settings.batch_size
        batches = self.subject.data.train_batches(seed, size)
        found = [
            self.encode(batches.batch(k), jax.random.fold_in(key, k))
            for k in range(-(-self.num // size))
        ]
        return np.concatenate([np.asarray(z0) for z0 in found])[: self.num]

    def _encode(self, batch: Batch, key: Any) -> Array:
        vae, params = self.subject.model.vae, self.subject.params["vae"]
        x = vae.preprocess(batch)
        keys = numerics.example_keys(key, numerics.example_indices(len(x)))
        eta = vae.draw(keys)
        mutables = self.subject.mutables["vae"]
        return vae.join(vae.infer(params, mutables, x, eta, train=False).z)
