r"""Likelihoods at few network calls, against an adaptive solver at tolerance 1e-6.

The same held-out examples, latents and probes are solved by every entry. Of each, the
difference of -log p(z) to the reference is

    d_i = (log p_ref(z_i) - log p(z_i)) / (dims log 2)   bits/dim,          (1)

its mean over examples is the error of a reported bound, and its root mean square that
of a single example.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from lsgm.evaluation.held_out import HeldOut
from lsgm.evaluation.measures.likelihood import FlowLikelihood, terms_of
from lsgm.evaluation.subject import EvaluationRun
from lsgm.files import write_file
from lsgm.reports.markdown import markdown_table
from lsgm.samplers.flow_solver import FlowSolver
from lsgm.samplers.probability_flow import ProbabilityFlow
from lsgm.samplers.residual_flow import ResidualFlow
from lsgm.sdes.scalar import VariancePreservingSDE
from lsgm.streams import Use, stream

REFERENCE = ProbabilityFlow(rtol=1e-6, atol=1e-6)
ORDERS = (1, 2, 3)
TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)


@dataclasses.dataclass(frozen=True)
class Discrepancy:
    """One entry against the reference, Eq. (1).

    Attributes:
      nfe: network calls per example.
      mean, standard_error: of d_i, bits per unit of data.
      rms: root mean square of d_i.
    """

    entry: str
    nfe: float
    mean: float
    standard_error: float
    rms: float


def measure(
    run: EvaluationRun, num_examples: int, batch_size: int, calls: Sequence[int]
) -> Iterator[Discrepancy]:
    """Each entry in turn; the reference first, whose differences are 0.

    Raises:
      ValueError: the prior's process is not variance-preserving, or it has none.
    """
    sde = run.subject.model.prior.diffusion
    if not isinstance(sde, VariancePreservingSDE):
        raise ValueError(f"needs a prior of a variance-preserving process, not {sde}")
    expected, nfe, _ = _solve(run, REFERENCE, num_examples, batch_size)
    yield Discrepancy("adaptive, 1e-06 (reference)", nfe, 0.0, 0.0, 0.0)
    for name, flow in _entries(calls):
        found, nfe, seen = _solve(run, flow, num_examples, batch_size)
        change = found - expected
        bits = seen.bits(change)
        mean = bits[f"bits_per_{run.subject.data.unit}"]
        error = bits["bits_standard_error"]
        each = change / np.log(2) / seen.units
        rms = float(np.sqrt(np.mean(each**2)))
        yield Discrepancy(name, nfe, mean, error, rms)


def _entries(calls: Sequence[int]) -> Iterator[tuple[str, FlowSolver]]:
    for order in ORDERS:
        for number in calls:
            yield (
                f"residual, order {order}",
                ResidualFlow(num_steps=number, order=order, t_end=REFERENCE.t_end),
            )
    for tolerance in TOLERANCES:
        flow = ProbabilityFlow(rtol=tolerance, atol=tolerance, t_end=REFERENCE.t_end)
        yield f"adaptive, {tolerance:g}", flow


def _solve(
    run: EvaluationRun, flow: FlowSolver, num_examples: int, batch_size: int
) -> tuple[np.ndarray, float, HeldOut]:
    """-log p(z) in nats [n], network calls, and the examples."""
    subject = run.subject
    settings = FlowLikelihood(
        flow=flow, loosened=None, num_examples=num_examples, batch_size=batch_size
    )
    seen = run.held_out(batch_size, num_examples)
    terms = terms_of(
        subject.model,
        settings,
        subject.params,
        subject.mutables,
        seen,
        stream(run.seed, Use.LIKELIHOOD),
    )
    nfe = float(terms.nfe["cross_entropy"].mean())
    return terms.values["cross_entropy"][0], nfe, seen


def markdown(found: Sequence[Discrepancy], unit: str, num_examples: int) -> str:
    """A table, a row for each entry, and what it is of."""
    header = ["solver", "calls", f"mean error, bits/{unit} (s.e.)", "rms"]
    rows = [
        [
            d.entry,
            f"{d.nfe:g}",
            f"{d.mean:+.4f} ({d.standard_error:.4f})",
            f"{d.rms:.4f}",
        ]
        for d in found
    ]
    lines = [
        f"-log p(z) of {num_examples} held-out examples, one latent and probe each, "
        f"the same for all rows; {jax.device_count()} x {jax.devices()[0].device_kind}",
        "",
        *markdown_table(header, rows, texts=1),
    ]
    return "\n".join(lines) + "\n"


def write(found: Sequence[Discrepancy], text: str, folder: pathlib.Path) -> None:
    """``likelihood.md`` and ``likelihood.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / "likelihood.md", text)
    rows = [dataclasses.asdict(row) for row in found]
    write_file(folder / "likelihood.json", json.dumps(rows, indent=2) + "\n")
