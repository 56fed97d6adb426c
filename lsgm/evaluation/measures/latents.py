r"""What the encoder's latents look like, by scale and group.

Of n held-out images, each with one draw z ~ q(z|x), the statistics of all variables of
a group together are those of the aggregate posterior q(z) = E_x[q(z|x)]; and

    KL = E_x E_q[log q(z|x) - log N(z; 0, I)],                             (1)
    active units = #{i : Var_x(mu_i(x)) > 0.01},                           (2)

(1) in nats per image by Monte Carlo, which flows need; mu the latents at zero noise:
the posterior's mean without flows, its image of the base's mean with them. The mixed
score takes the prior's scales for nearly N(0, I), other scales have N(0, I) for their
prior; both are wrong by as much as the statistics here are off.

Source: Burda et al., arXiv 1509.00519, section 5.2 (active units).
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lsgm import numerics
from lsgm.evaluation.measures.base import Measure, Needs, require_positive
from lsgm.evaluation.parts import Result
from lsgm.evaluation.subject import EvaluationRun
from lsgm.model import LatentModel
from lsgm.priors.normal import neg_log_prob
from lsgm.reports.figures import INK, draw_png
from lsgm.reports.page import Figure, Metric, Section
from lsgm.streams import Use, stream
from lsgm.typing import Batch, Params, PRNGKey

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

ACTIVE = 0.01
COLLAPSED = 0.01
SCALE, MEAN, SKEW, KURTOSIS = (0.67, 1.5), 0.25, 0.5, 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentStatistics(Measure):
    """Statistics of the encoder's latents, with warnings.

    Attributes:
      num_examples: held-out examples that are encoded; None for all.
    """

    name: ClassVar[str] = "latents"

    num_examples: int | None = 500

    def __post_init__(self) -> None:
        require_positive(self, "num_examples")

    @property
    def needs(self) -> Needs:
        """The examples."""
        return Needs(num_examples=self.num_examples)

    def run(self, run: EvaluationRun) -> Result:
        """Statistics and warnings by group, and a picture of all groups."""
        subject = run.subject
        groups = groups_of(
            subject.model,
            subject.params,
            subject.mutables,
            run.held_out(subject.settings.batch_size, self.num_examples),
            stream(run.seed, Use.LATENTS),
        )
        rows = [describe(group) for group in groups]
        warnings = [w for row in rows for w in warnings_of(row)]
        figure = Figure(
            png=picture(groups),
            caption="Latents of held-out images, all variables of a group together, "
            "and the density of N(0, 1).",
            density=2,
        )
        text = " ".join(warnings) or "No warnings."
        return Result(
            metrics={"groups": rows, "warnings": warnings},
            sections=[Section(title="Latents", figures=[figure], text=text)],
        )

    @classmethod
    def rows(cls, found: Mapping[str, Any]) -> dict[str, list[Metric]]:
        """A heading for each group."""
        return {
            f"Latents, scale {row['scale']}, group {row['group']} "
            f"({row['num_examples']} images)": _rows(row)
            for row in found["groups"]
        }


class LatentGroup(NamedTuple):
    """Latents of one group.

    Attributes:
      scale, group: scale 0 is the deepest; groups count from 0 in their scale.
      z: draws, [n d]. mean: latents at zero noise, [n d]. kl: Eq. (1) of each image.
      channels: the last of the d variables' axes.
    """

    scale: int
    group: int
    z: np.ndarray
    mean: np.ndarray
    kl: np.ndarray
    channels: int


def groups_of(
    model: LatentModel,
    params: Params,
    mutables: Params,
    batches: Iterable[Any],
    key: PRNGKey,
) -> list[LatentGroup]:
    """Encode evaluation batches, one draw each.

    Args:
      batches: with a ``mask`` that is False where a short last
        batch was filled up.
    """
    vae = model.vae

    @jax.jit
    def encode(params: Params, mutables: Params, batch: Batch, key: PRNGKey) -> Any:
        x = vae.preprocess(batch)
        keys = numerics.example_keys(key, numerics.example_indices(x.shape[0]))
        noise = vae.draw(keys)
        own, carried = params["vae"], mutables["vae"]
        drawn = vae.infer(own, carried, x, noise, train=False)
        zero = jax.tree.map(jnp.zeros_like, noise)
        mean = vae.infer(own, carried, x, zero, train=False).z
        kl = [
            numerics.sum_per_example(log_q + neg_log_prob(z))
            for z, log_q in zip(drawn.z, drawn.log_q, strict=True)
        ]
        return list(zip(drawn.z, mean, kl, strict=True))

    found = []
    for index, batch in enumerate(batches):
        mask = np.asarray(batch["mask"])
        out = encode(params, mutables, batch, jax.random.fold_in(key, index))
        found.append([tuple(np.asarray(leaf)[mask] for leaf in row) for row in out])
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)
    places = [(s, g) for s, gs in enumerate(vae.latent_shapes) for g in range(len(gs))]
    return [
        LatentGroup(
            s, g, z.reshape(len(z), -1), mean.reshape(len(z), -1), kl, z.shape[-1]
        )
        for (s, g), (z, mean, kl) in zip(places, joined, strict=True)
    ]


def describe(group: LatentGroup) -> dict[str, Any]:
    """Statistics of a group, in nats where it is the KL.

    ``std_of_channels`` is the least and largest of the channels; ``ks_statistic`` the
    largest distance between the distribution functions of z and of N(0, 1).
    """
    from scipy import stats

    z = np.asarray(group.z, np.float64)
    by_channel = z.reshape(-1, group.channels)
    values, deviation = z.ravel(), by_channel.std(0)
    return {
        "scale": group.scale,
        "group": group.group,
        "units": z.shape[1],
        "num_examples": len(z),
        "mean": float(values.mean()),
        "mean_of_channels": _range(by_channel.mean(0)),
        "std": float(values.std()),
        "std_of_channels": _range(deviation),
        "kl_nats": float(np.mean(group.kl, dtype=np.float64)),
        "active_units": int(np.sum(np.var(group.mean, 0, dtype=np.float64) > ACTIVE)),
        "skew": float(stats.skew(values)),
        "excess_kurtosis": float(stats.kurtosis(values)),
        "ks_statistic": float(stats.kstest(values, "norm").statistic),
    }


def _range(values: np.ndarray) -> list[float]:
    return [float(values.min()), float(values.max())]


def warnings_of(row: dict[str, Any]) -> list[str]:
    """What is wrong with the group that ``describe`` describes, in plain words."""
    where = f"Scale {row['scale']}, group {row['group']}:"
    low, high = row["std_of_channels"]
    least, most = row["mean_of_channels"]
    assumed = (
        "the mixed score assumes unit variance"
        if row["scale"] == 0
        else "its prior is N(0, I)"
    )
    found = []
    if low < SCALE[0] or high > SCALE[1]:
        found.append(
            f"{where} latent scale far from 1 (channels from {low:.2f} to {high:.2f}): "
            f"{assumed}."
        )
    if max(-least, most) > MEAN:
        found.append(
            f"{where} mean far off 0 (channels from {least:.2f} to {most:.2f}): "
            f"{assumed.replace('unit variance', 'mean 0')}."
        )
    if not row["active_units"] or row["kl_nats"] < COLLAPSED:
        found.append(
            f"{where} collapsed: {row['active_units']} of {row['units']} units active, "
            f"KL {row['kl_nats']:.2g} nats; it carries nothing of the image."
        )
    if abs(row["skew"]) > SKEW or abs(row["excess_kurtosis"]) > KURTOSIS:
        found.append(
            f"{where} far from Normal (skew {row['skew']:.2f}, excess kurtosis "
            f"{row['excess_kurtosis']:.2f}): the prior has more to learn, and samplers "
            "need more calls."
        )
    return found


def picture(groups: Sequence[LatentGroup]) -> bytes:
    """Histograms of the groups against N(0, 1), as a PNG of two pixels to a point."""
    columns = min(len(groups), 4)
    rows = -(-len(groups) // columns)
    size = (max(2.6 * columns, 4.0), 2.0 * rows)

    def fill(figure: "Canvas") -> None:
        for index, group in enumerate(groups):
            axes = figure.add_subplot(rows, columns, index + 1)
            _draw_group(axes, group)
            if not index:
                axes.legend()

    return draw_png(size, fill)


def _draw_group(axes: "Axes", group: LatentGroup) -> None:
    edges = np.linspace(-4, 4, 65)
    density = np.exp(-(edges**2) / 2) / np.sqrt(2 * np.pi)
    values = np.clip(group.z.ravel(), -4, 4)
    axes.hist(values, edges.tolist(), density=True, alpha=0.55, label="q(z)")
    axes.plot(edges, density, color=INK, lw=1.2, label="N(0, 1)")
    axes.set_title(f"scale {group.scale}, group {group.group}")
    axes.set_yticks([])


def _rows(row: Mapping[str, Any]) -> list[Metric]:
    return [
        Metric(
            label="KL to N(0, I)", value=row["kl_nats"], unit="nats", note="by draws"
        ),
        Metric(
            label="Active units",
            value=row["active_units"],
            unit=f"of {row['units']}",
            note="variance of the posterior's mean above 0.01",
        ),
        Metric(
            label="Mean", value=row["mean"], note=_channels(row["mean_of_channels"])
        ),
        Metric(
            label="Standard deviation",
            value=row["std"],
            note=_channels(row["std_of_channels"]),
        ),
        Metric(label="Skew", value=row["skew"]),
        Metric(label="Excess kurtosis", value=row["excess_kurtosis"]),
        Metric(
            label="Kolmogorov-Smirnov distance to N(0, 1)", value=row["ks_statistic"]
        ),
    ]


def _channels(ends: list[float]) -> str:
    return f"channels from {ends[0]:.3g} to {ends[1]:.3g}"
