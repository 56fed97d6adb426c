"""The bound on held-out data, term by term, with standard errors.

Beside it stands the bound of the same VAE with N(0, I) in the prior's place, on the
same draws of latents: what the learned prior is worth.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import numpy as np

from lsgm import elbo
from lsgm.evaluation.held_out import HeldOut
from lsgm.evaluation.measures.base import Measure, Needs, require_positive
from lsgm.evaluation.parts import Result
from lsgm.evaluation.subject import EvaluationRun
from lsgm.model import LatentModel
from lsgm.priors.normal import StandardNormal
from lsgm.reports.ledger import Reproduced
from lsgm.reports.page import Metric
from lsgm.reports.rows import bits_rows, describe_examples, nats_row
from lsgm.statistics.estimate import Estimate, estimate_mean
from lsgm.streams import Use, stream
from lsgm.typing import Array, Batch, Params, PRNGKey

TERMS = ("reconstruction", "neg_entropy", "cross_entropy", "nelbo")
WITHOUT_BOUND = ("reconstruction",)
WITH_NORMAL = "nelbo_with_normal_prior"
LABELS = {
    "nelbo": "Negative ELBO",
    "reconstruction": "Reconstruction",
    "neg_entropy": "Encoder's negative entropy",
    "cross_entropy": "Cross-entropy to the prior",
    WITH_NORMAL: "Negative ELBO with N(0, I) as prior",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeldOutBound(Measure):
    """The negative ELBO and its parts in nats, and in bits per unit of discrete data.

    Attributes:
      num_examples: held-out examples that it is averaged over; None for all.
      num_draws: independent draws (latents, times, noise) per example.
    """

    name: ClassVar[str] = "bound"
    must_agree: ClassVar[tuple[str, ...]] = (
        "split",
        "num_bits",
        "binarize",
        "num_examples",
        "examples_sha256",
    )

    num_examples: int | None = None
    num_draws: int = 4

    def __post_init__(self) -> None:
        require_positive(self, "num_examples", "num_draws")

    @property
    def needs(self) -> Needs:
        """A prior with a bound, and the examples."""
        return Needs(bound=True, num_examples=self.num_examples)

    def run(self, run: EvaluationRun) -> Result:
        """Means over examples with their errors, and the values of each example."""
        model, beside = run.subject.model, {}
        if model.prior.groups:
            beside[WITH_NORMAL] = dataclasses.replace(model, prior=StandardNormal())
        terms = bound_fn(model, beside)
        seen = run.held_out(run.subject.settings.batch_size, self.num_examples)
        result = held_out_terms(run, terms, seen, self.num_draws)
        if not model.vae.likelihood.density:
            result.metrics.update(seen.bits(result.per_example["nelbo"]))
        return result

    @classmethod
    def rows(cls, found: Mapping[str, Any]) -> dict[str, list[Metric]]:
        """The bound, its bits per unit, its terms, and the bound with N(0, I)."""
        first, *others = (
            nats_row(
                label,
                found[name],
                key=f"bound/{name}",
                better="lower" if "nelbo" in name else None,
            )
            for name, label in LABELS.items()
            if name in found
        )
        bits = bits_rows(LABELS["nelbo"], found, found)
        return {f"Bound ({describe_examples(found)})": [first, *bits, *others]}

    @classmethod
    def headline(cls, found: Mapping[str, Any]) -> Sequence[Metric]:
        """The bound in nats, and in bits/dim."""
        nats = nats_row("Bound on -log p(x)", found["nelbo"], better="lower")
        return [nats, *bits_rows("The same", found, found)]

    @classmethod
    def reproduced(cls, found: Mapping[str, Any]) -> Sequence[Reproduced]:
        """The bound in either unit; the error of bits/dim is that of nats."""
        note = f"{found['num_bits']}-bit data, {describe_examples(found)}"
        nats, error = found["nelbo"]["nats"], found["nelbo"]["standard_error"]
        estimates = {"nats": Estimate(value=nats, standard_error=error)}
        if bits := found.get("bits_per_dim"):
            estimates["bits_per_dim"] = Estimate(
                value=bits, standard_error=error * bits / nats
            )
        return [
            Reproduced(field=field, ours=estimate, note=note)
            for field, estimate in estimates.items()
        ]


def held_out_terms(
    run: EvaluationRun,
    terms: Callable[..., dict[str, Array]],
    held_out: HeldOut,
    num_draws: int,
) -> Result:
    """Means of ``terms`` over held-out examples in nats, and what they are of.

    Args:
      terms: what ``bound_fn`` returns.
      num_draws: independent draws per example.
    """
    subject = run.subject
    values = example_values(
        terms,
        subject.params,
        subject.mutables,
        held_out,
        stream(run.seed, Use.BOUND),
        num_draws,
    )
    found: dict[str, Any] = {
        name: nats_of(estimate_mean(v)) for name, v in values.items()
    }
    found |= run.describe_data() | {
        "num_examples": len(values["reconstruction"]),
        "examples_sha256": held_out.sha256,
        "num_draws": num_draws,
    }
    return Result(metrics=found, per_example=values)


def bound_fn(
    model: LatentModel, beside: Mapping[str, LatentModel] | None = None
) -> Callable[..., dict[str, Array]]:
    """Compiled ``(params, mutables, batch, key) -> terms``, each [b] in nats: all
    terms of the bound, or where the prior has none the reconstruction.

    Args:
      beside: models with the same VAE, whose negative ELBO on the same draws of
        latents is added under their names.
    """

    @jax.jit
    def terms(
        params: Params, mutables: Params, batch: Batch, key: PRNGKey
    ) -> dict[str, Array]:
        x = model.vae.preprocess(batch)

        def bound(model: LatentModel) -> elbo.Bound:
            # The same draws for all: the same key, on purpose.
            draws = elbo.draw(model, jax.random.clone(key), x.shape[0])
            return elbo.bound(
                model, params, mutables, x, draws, cond=batch.get("label")
            )

        own, names = bound(model), TERMS if model.prior.has_bound else WITHOUT_BOUND
        others: dict[str, Any] = {
            name: bound(m).nelbo for name, m in (beside or {}).items()
        }
        return {name: getattr(own, name) for name in names} | others

    return terms


def example_values(
    terms: Callable[..., dict[str, Array]],
    params: Params,
    mutables: Params,
    batches: Iterable[Any],
    key: PRNGKey,
    num_draws: int = 1,
) -> dict[str, np.ndarray]:
    """Each term of every example, in nats, [n] by name.

    Args:
      terms: what ``bound_fn`` returns.
      batches: evaluation batches with a ``mask`` that is
        False where a short last batch was filled up.
      num_draws: independent draws per example, over which the value is the mean.
    """
    parts: list[dict[str, np.ndarray]] = []
    for index, batch in enumerate(batches):
        mask = np.asarray(batch["mask"])
        batch_key = jax.random.fold_in(key, index)
        draws = [
            terms(params, mutables, batch, jax.random.fold_in(batch_key, i))
            for i in range(num_draws)
        ]
        mean = jax.tree.map(
            lambda *d: np.mean([np.asarray(v, np.float64) for v in d], axis=0), *draws
        )
        parts.append({name: value[mask] for name, value in mean.items()})
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def nats_of(estimate: Estimate) -> dict[str, float | None]:
    """An estimate in nats as ``metrics.json`` holds it."""
    return {"nats": estimate.value, "standard_error": estimate.standard_error}
