r"""Likelihood of held-out images through the density of their latents.

For an image x, latents z drawn from q(z|x), z_1 those of the prior,

    -log w = -log p(x|z) + log q(z|x) - log p(z_1) - log N(z_rest; 0, I),  (1)
    -log p(x) <= E[-log 1/K sum_k w_k] <= E[-log w],                       (2)

the right-hand side of (2) the negative ELBO, the middle the importance-weighted
bound, which falls to -log p(x) as K grows. A score prior's log p(z_1) is solved
for along the probability-flow ODE (``lsgm.samplers.likelihood``). It is the density
of what that ODE makes of noise when it is run to ``t_end``, so (2) bounds the model
that samples so, up to the solver's tolerance.

Random probes leave log p(z_1) unbiased and with it the negative ELBO, but inside
the logarithm their noise is counted as weight: with K > 1 only the exact trace
keeps the first inequality of (2).

Sources: LSGM, arXiv 2106.05931, appendix on evaluation; Burda et al.,
arXiv 1509.00519 (importance weights).
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lsgm import numerics
from lsgm.evaluation.measures.base import Measure, Needs, require_positive
from lsgm.evaluation.measures.bound import LABELS, nats_of
from lsgm.evaluation.parts import Result
from lsgm.evaluation.subject import EvaluationRun
from lsgm.model import LatentModel
from lsgm.priors import normal
from lsgm.reports.page import Metric
from lsgm.reports.rows import bits_rows, describe_examples, nats_row
from lsgm.samplers.base import require_finite
from lsgm.samplers.flow_solver import FlowSolver
from lsgm.samplers.likelihood import Probes, gaussian, rademacher, unit_vectors
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.statistics.estimate import estimate_mean
from lsgm.streams import Use, stream
from lsgm.typing import Array, Batch, Latent, Params, PRNGKey


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowLikelihood(Measure):
    """The bound by the ODE's density of the latents, and importance weights.

    Attributes:
      num_examples: held-out images; None for all.
      num_samples: K of Eq. (2), latents per image.
      batch_size: images that are solved together; a solver that shares its steps
        depends on it.
      flow: how the ODE is solved, and its end.
      loosened: factor by which a second solve of the same latents, with the same
        probes, is less exact, which shows how much exactness matters; None solves
        once.
      probe: trace by random signs, by Normal probes, or exact, for small latents:
        one product per dimension.
      num_probes: random probes per latent, the same for a whole solve.
    """

    name: ClassVar[str] = "likelihood"
    must_agree: ClassVar[tuple[str, ...]] = (
        "split",
        "num_bits",
        "binarize",
        "num_examples",
        "examples_sha256",
    )

    num_examples: int | None = 100
    num_samples: int = 1
    batch_size: int = 50
    flow: FlowSolver = ProbabilityFlow()
    loosened: float | None = 10.0
    probe: Literal["rademacher", "gaussian", "exact"] = "rademacher"
    num_probes: int = 1

    def __post_init__(self) -> None:
        require_positive(
            self, "num_examples", "num_samples", "batch_size", "num_probes"
        )
        if self.loosened is not None and not self.loosened > 1:
            raise ValueError(f"loosened = {self.loosened}: must be above 1, or None")
        if self.probe == "exact" and self.num_probes != 1:
            raise ValueError(
                f"num_probes = {self.num_probes}: the exact trace has no random probes"
            )

    @property
    def needs(self) -> Needs:
        """A prior with a density, and the examples."""
        return Needs(bound=True, num_examples=self.num_examples)

    def run(self, run: EvaluationRun) -> Result:
        """Means over images with their errors, and the values of each image."""
        subject, model = run.subject, run.subject.model
        seen = run.held_out(self.batch_size, self.num_examples)
        terms = terms_of(
            model,
            self,
            subject.params,
            subject.mutables,
            seen,
            stream(run.seed, Use.LIKELIHOOD),
        )
        bits = None if model.vae.likelihood.density else seen.bits
        found = summary(terms, self, bits)
        found |= run.describe_data() | {"examples_sha256": seen.sha256}
        values = {"nelbo": terms.nelbo.mean(0)}
        if self.num_samples > 1:
            values["importance_weighted"] = importance_weighted(terms.nelbo)
        return Result(metrics=found, per_example=values)

    @classmethod
    def rows(cls, found: Mapping[str, Any]) -> dict[str, list[Metric]]:
        """Bounds with their terms, and how much the tolerance matters."""
        return {f"Likelihood ({describe_examples(found)})": _rows(found)}

    def probes(self, key: PRNGKey, shape: tuple[int, ...]) -> Probes:
        """Probes for latents of ``shape``, batch first."""
        if self.probe == "exact":
            return unit_vectors(shape)
        draw = {"rademacher": rademacher, "gaussian": gaussian}[self.probe]
        return draw(key, shape, self.num_probes)

    @property
    def loosened_flow(self) -> FlowSolver | None:
        """The solver of the second solve."""
        return None if self.loosened is None else self.flow.loosened(self.loosened)


class EncodedTerms(NamedTuple):
    """The terms of Eq. (1) but the prior's, each [b] in nats.

    Attributes:
      z0: the prior's latents, [b h w c].
      rest: -log N(z_rest; 0, I), of all other scales.
    """

    z0: Array
    reconstruction: Array
    neg_entropy: Array
    rest: Array


class Terms(NamedTuple):
    """Eq. (1) for n images and K latents of each.

    Attributes:
      values: nats, [K n] each: "reconstruction", "neg_entropy", "cross_entropy",
        and where asked for "loosened", the cross-entropy at looser tolerances.
      nfe: network calls of each solve for the last two, [num_solves].
    """

    values: dict[str, np.ndarray]
    nfe: dict[str, np.ndarray]

    @property
    def nelbo(self) -> np.ndarray:
        """Eq. (1), [K n]."""
        names = ("reconstruction", "neg_entropy", "cross_entropy")
        return sum((self.values[name] for name in names), np.zeros(()))


def encode_fn(model: LatentModel) -> Callable[..., EncodedTerms]:
    """Compiled ``(params, mutables, batch, key) -> EncodedTerms``."""

    @jax.jit
    def encode(
        params: Params, mutables: Params, batch: Batch, key: PRNGKey
    ) -> EncodedTerms:
        vae, total = model.vae, numerics.sum_per_example
        x = vae.preprocess(batch)
        keys = numerics.example_keys(key, numerics.example_indices(x.shape[0]))
        inferred = vae.infer(
            params["vae"], mutables["vae"], x, vae.draw(keys), train=False
        )
        rest = vae.rest(inferred.z)
        zero = jnp.zeros(x.shape[:1])
        return EncodedTerms(
            z0=vae.join(inferred.z),
            reconstruction=-total(vae.likelihood_of(inferred.out).log_prob(x)),
            neg_entropy=sum((total(log_q) for log_q in inferred.log_q), zero),
            rest=sum((total(normal.neg_log_prob(z)) for z in rest), zero),
        )

    return encode


def log_prior_fn(
    model: LatentModel, flow: FlowSolver
) -> Callable[..., tuple[Array, Array]]:
    """Compiled ``(params, mutables, z0, probes, eps, cond) -> (log p(z0) [b] in nats,
    nfe)``; what these are: ``lsgm.priors.base.Prior.log_prob``."""

    @jax.jit
    def log_prior(
        params: Params,
        mutables: Params,
        z0: Latent,
        probes: Probes,
        eps: Latent,
        cond: Array | None,
    ) -> tuple[Array, Array]:
        found = model.prior.log_prob(
            params, mutables, z0, flow=flow, probes=probes, eps=eps, cond=cond
        )
        return found.log_prob, found.nfe

    return log_prior


def terms_of(
    model: LatentModel,
    settings: FlowLikelihood,
    params: Params,
    mutables: Params,
    batches: Iterable[Any],
    key: PRNGKey,
) -> Terms:
    """Draw latents and weigh them.

    Args:
      batches: evaluation batches with a ``mask`` that is
        False where a short last batch was filled up.

    Raises:
      FloatingPointError: an ODE was not solved, or a network's output is not finite.
    """
    encode = encode_fn(model)
    flows = {"cross_entropy": settings.flow}
    if settings.loosened_flow is not None and model.prior.diffusion:
        flows["loosened"] = settings.loosened_flow
    solves = {n: log_prior_fn(model, flow) for n, flow in flows.items()}
    nfe: dict[str, list[int]] = {name: [] for name in flows}

    def draw(batch: Batch, key: PRNGKey) -> dict[str, Array]:
        noise_key, probe_key, velocity_key = jax.random.split(key, 3)
        part = encode(params, mutables, batch, noise_key)
        terms = {
            "reconstruction": part.reconstruction,
            "neg_entropy": part.neg_entropy,
        }
        probes = settings.probes(probe_key, part.z0.shape)
        eps = jax.random.normal(velocity_key, part.z0.shape)
        cond = None if "label" not in batch else jnp.asarray(batch["label"])
        for name, solve in solves.items():
            log_prior, calls = solve(params, mutables, part.z0, probes, eps, cond)
            require_finite(log_prior, "values of log p(z0)")
            terms[name] = part.rest - log_prior
            nfe[name].append(int(calls))
        return terms

    parts: list[dict[str, np.ndarray]] = []
    for index, batch in enumerate(batches):
        mask = np.asarray(batch["mask"])
        keys = jax.random.split(jax.random.fold_in(key, index), settings.num_samples)
        drawn = jax.tree.map(_stack, *(draw(batch, k) for k in keys))
        parts.append({name: terms[:, mask] for name, terms in drawn.items()})
    values = jax.tree.map(lambda *terms: np.concatenate(terms, axis=1), *parts)
    return Terms(values, {name: np.asarray(calls) for name, calls in nfe.items()})


def importance_weighted(nelbo: np.ndarray) -> np.ndarray:
    """Eq. (2), the middle, in nats [n], from -log w [K n]."""
    least = nelbo.min(0)
    return least - np.log(np.mean(np.exp(least - nelbo), 0))


def summary(
    terms: Terms,
    settings: FlowLikelihood,
    bits: Callable[[np.ndarray], dict[str, float]] | None,
) -> dict[str, Any]:
    """Means over examples with standard errors: nats, and bits/dim of the bounds.

    The K latents of an image are averaged before the error is taken.

    Args:
      bits: nats of each example to bits per unit (``HeldOut.bits``); None where
        the likelihood is a density, of which bits say nothing.
    """
    values = terms.values
    found: dict[str, Any] = {
        name: _nats(values[name].mean(0))
        for name in ("reconstruction", "neg_entropy", "cross_entropy")
    }
    found["nelbo"] = _nats(terms.nelbo.mean(0))
    if settings.num_samples > 1:
        weighted = importance_weighted(terms.nelbo)
        found["importance_weighted"] = _nats(weighted)
    if bits is not None:
        found["nelbo"] |= bits(terms.nelbo.mean(0))
        if settings.num_samples > 1:
            found["importance_weighted"] |= bits(weighted)
    found |= {
        "num_examples": terms.nelbo.shape[1],
        "num_samples": settings.num_samples,
        "batch_size": settings.batch_size,
        "nfe": float(terms.nfe["cross_entropy"].mean()),
    }
    if not terms.nfe["cross_entropy"].any():
        return found  # nothing was solved
    found |= settings.flow.settings
    found |= {"probe": settings.probe, "num_probes": settings.num_probes}
    loosened = settings.loosened_flow
    if loosened is not None:
        change = (values["loosened"] - values["cross_entropy"]).mean(0)
        found["loosened"] = {
            **{k: v for k, v in loosened.settings.items() if k != "t_end"},
            "nfe": float(terms.nfe["loosened"].mean()),
            "nelbo": _nats(terms.nelbo.mean(0) + change),
            "difference": _nats(change),
            "largest_difference": float(np.abs(change).max()),
        }
    return found


def _stack(*draws: Array) -> np.ndarray:
    return np.stack([np.asarray(draw, np.float64) for draw in draws])


def _nats(values: np.ndarray) -> dict[str, Any]:
    return nats_of(estimate_mean(values))


def _rows(found: Mapping[str, Any]) -> list[Metric]:
    solved = "probe" in found
    random = solved and found["probe"] != "exact"
    how, bound = "exact", "upper bound on -log p(x)"
    if solved:
        trace = f"{found['num_probes']} {found['probe']}" if random else "exact"
        how = f"ODE, {_describe_flow(found)}, trace: {trace}"
    rows = [
        nats_row(LABELS["nelbo"], found["nelbo"], bound, "likelihood/nelbo", "lower"),
        *bits_rows(LABELS["nelbo"], found["nelbo"], found),
        nats_row(LABELS["reconstruction"], found["reconstruction"]),
        nats_row(LABELS["neg_entropy"], found["neg_entropy"]),
        nats_row("-log p(z)", found["cross_entropy"], how),
    ]
    if "importance_weighted" in found:
        weighted, k = found["importance_weighted"], found["num_samples"]
        label = f"Importance-weighted, K = {k}"
        note = "optimistic: probes are random" if random else bound
        rows += [
            nats_row(label, weighted, note, "likelihood/importance_weighted", "lower"),
            *bits_rows(label, weighted, found),
        ]
    if solved:
        calls = Metric(
            label="Network calls", value=found["nfe"], unit="per image", better="lower"
        )
        rows.append(calls)
    if "loosened" in found:
        other = found["loosened"]
        note = f"same latents and probes; {other['nfe']:g} network calls"
        label = f"Change of the negative ELBO with {_describe_flow(other)}"
        rows.append(nats_row(label, other["difference"], note))
    return rows


def _describe_flow(found: Mapping[str, Any]) -> str:
    if "rtol" in found:
        return f"rtol {found['rtol']:g}"
    return f"{found['num_steps']} steps of order {found['order']}"
