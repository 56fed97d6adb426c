"""Metrics as people read them: the report's headline and its table."""

import math
from typing import Any

from lsgm.reports.page import Metric, format_value

PARTS = {
    "reconstruction": "Reconstruction",
    "neg_entropy": "Encoder's negative entropy",
    "cross_entropy": "Cross-entropy to the prior",
}


def headline(metrics: dict[str, dict[str, Any]]) -> list[Metric]:
    """The few numbers on top of the report."""
    tiles = []
    if "bound" in metrics:
        found = metrics["bound"]
        tiles.append(_nats("Bound on -log p(x)", found["nelbo"]))
        tiles += _bits("The same", found, found)
    calls = metrics["sampling"]["nfe"]
    tiles.append(Metric(label="Network calls", value=calls, unit="per sample"))
    if "distance" in metrics:
        tiles += distance_rows(metrics["distance"])[:1]
    return tiles


def table(metrics: dict[str, dict[str, Any]]) -> dict[str, list[Metric]]:
    """The report's table, rows by group."""
    calls = metrics["sampling"]
    rows = bound_rows(metrics["bound"]) if "bound" in metrics else {}
    if "reconstruction" in metrics:
        found = metrics["reconstruction"]
        key = "reconstruction/reconstruction"
        row = _nats("-log p(x|z)", found["reconstruction"], key=key)
        rows[f"Reconstruction ({_where(found)})"] = [row]
    rows |= {
        "Sampling": [
            Metric(label="Network calls", value=calls["nfe"], unit="per sample"),
            Metric(
                label="Prior", value=1e3 * calls["seconds_per_sample_prior"], unit="ms"
            ),
            Metric(
                label="Decoder",
                value=1e3 * calls["seconds_per_sample_decoder"],
                unit="ms",
            ),
        ],
    }
    if "likelihood" in metrics:
        rows |= likelihood_rows(metrics["likelihood"])
    if "latents" in metrics:
        rows |= latent_rows(metrics["latents"])
    if "distance" in metrics:
        found = metrics["distance"]
        rows[f"Distance to real images ({_compared(found)})"] = distance_rows(found)
    if "memorization" in metrics:
        rows |= memorization_rows(metrics["memorization"])
    return rows


def bound_rows(found: dict[str, Any]) -> dict[str, list[Metric]]:
    """Rows of ``measures.bound``, where the prior has one."""
    rows = [
        _nats("Negative ELBO", found["nelbo"], key="bound/nelbo"),
        *_bits("Negative ELBO", found, found),
        *(
            _nats(label, found[name], key=f"bound/{name}")
            for name, label in PARTS.items()
        ),
    ]
    if "nelbo_with_normal_prior" in found:
        rows.append(
            _nats(
                "Negative ELBO with N(0, I) as prior",
                found["nelbo_with_normal_prior"],
                key="bound/nelbo_with_normal_prior",
            )
        )
    return {f"Bound ({_where(found)})": rows}


def likelihood_rows(found: dict[str, Any]) -> dict[str, list[Metric]]:
    """Rows of ``measures.likelihood``; what each is: ``docs/evaluation.md``."""
    solved = "rtol" in found
    random = solved and found["probe"] != "exact"
    how, bound = "exact", "upper bound on -log p(x)"
    if solved:
        trace = f"{found['num_probes']} {found['probe']}" if random else "exact"
        how = f"ODE, rtol {found['rtol']:g}, trace: {trace}"
    rows = [
        _nats("Negative ELBO", found["nelbo"], bound, "likelihood/nelbo"),
        *_bits("Negative ELBO", found["nelbo"], found),
        _nats("Reconstruction", found["reconstruction"]),
        _nats("Encoder's negative entropy", found["neg_entropy"]),
        _nats("-log p(z)", found["cross_entropy"], how),
    ]
    if "importance_weighted" in found:
        weighted, k = found["importance_weighted"], found["num_samples"]
        label = f"Importance-weighted, K = {k}"
        note = "optimistic: probes are random" if random else bound
        rows += [
            _nats(label, weighted, note, "likelihood/importance_weighted"),
            *_bits(label, weighted, found),
        ]
    if solved:
        rows.append(Metric(label="Network calls", value=found["nfe"], unit="per image"))
    if "loosened" in found:
        other = found["loosened"]
        note = f"same latents and probes; {other['nfe']:g} network calls"
        label = f"Change of the negative ELBO at rtol {other['rtol']:g}"
        rows.append(_nats(label, other["difference"], note))
    return {f"Likelihood ({_where(found)})": rows}


def distance_rows(found: dict[str, Any]) -> list[Metric]:
    """Rows of ``measures.realism``; real images' numbers in the notes."""
    near, dense = found["precision_neighbour"], found["density_neighbour"]
    labels = {
        "frechet": found["name"],
        "kernel": found["kernel_name"],
        "precision": f"Precision, k = {near}",
        "recall": f"Recall, k = {near}",
        "density": f"Density, k = {dense}",
        "coverage": f"Coverage, k = {dense}",
        "told_apart": "Told apart by a classifier",
    }
    rows = []
    for name, estimate in found["samples"].items():
        note = ""
        if name in found.get("real", {}):
            value, error = found["real"][name].values()
            shown = f"{format_value(value, error)} ± {format_value(error, error)}"
            note = f"real images: {shown}"
        rows.append(
            Metric(
                label=labels[name],
                value=estimate["value"],
                standard_error=estimate["standard_error"],
                note=note,
            )
        )
    return rows


def _compared(found: dict[str, Any]) -> str:
    """What is compared with what, for the heading."""
    text = f"{found['num_reference']} of {found['reference']}"
    if "real" in found:
        text += f"; beside: {found['num_real']} real images of {found['real_images']}"
    return text


def memorization_rows(found: dict[str, Any]) -> dict[str, list[Metric]]:
    """Rows of ``lsgm.evaluation.measures.memorization``."""
    rows = []
    for space in ("features", "pixels"):
        one = found[space]
        medians = f"{one['median_samples']:.3g} against {one['median_held_out']:.3g}"
        rows += [
            Metric(
                label=f"Nearer to a training image than held-out images, {space}",
                value=one["nearer"],
                unit="of pairs",
                note=f"0.5 is as near; median distances {medians}",
            ),
            Metric(
                label=f"Mann-Whitney z, {space}",
                value=one["z"],
                note="below -2 or so: copies",
            ),
        ]
    where = (
        f"{found['num_samples']} samples, {found['num_held_out']} images of split "
        f"{found['held_out_split']}, {found['num_train']} training images"
    )
    return {f"Memorization ({where})": rows}


def latent_rows(found: dict[str, Any]) -> dict[str, list[Metric]]:
    """Rows of ``lsgm.evaluation.measures.latents``, a heading for each group."""
    return {
        f"Latents, scale {row['scale']}, group {row['group']} "
        f"({row['num_examples']} images)": [
            Metric(
                label="KL to N(0, I)",
                value=row["kl_nats"],
                unit="nats",
                note="by draws",
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
                label="Kolmogorov-Smirnov distance to N(0, 1)",
                value=row["ks_statistic"],
            ),
        ]
        for row in found["groups"]
    }


def _where(found: dict[str, Any]) -> str:
    return f"{found['num_examples']} images of split {found['split']}"


def _channels(ends: list[float]) -> str:
    return f"channels from {ends[0]:.3g} to {ends[1]:.3g}"


def _bits(label: str, values: dict[str, Any], found: dict[str, Any]) -> list[Metric]:
    """bits/dim with the depth they belong to; none of a density."""
    if "bits_per_dim" not in values:
        return []
    unit = f"bits/dim of {found['num_bits']}-bit data"
    return [Metric(label=label, value=values["bits_per_dim"], unit=unit)]


def _nats(
    label: str, estimate: dict[str, float], note: str = "", key: str = ""
) -> Metric:
    error = estimate["standard_error"]
    return Metric(
        label=label,
        value=estimate["nats"],
        unit="nats",
        standard_error=None if math.isnan(error) else error,
        note=note,
        key=key,
    )
