"""How fast batches come out of the pipeline, and whether that keeps devices busy.

A host whose share of a batch of B images is B / hosts, at s seconds an update, needs

    needed = B / (hosts s)  images/s,     cores = needed / (images/s of one core). (1)

Images are decoded anew each time (no cache), in the order of training, with the
config's own transforms.
"""

import dataclasses
import json
import pathlib
import time
from collections.abc import Iterator, Mapping

from lsgm.data.images import Images
from lsgm.data.pipeline import READ_AHEAD, Data, require_kind
from lsgm.files import write_file
from lsgm.reports.markdown import markdown_table

BATCH = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rates:
    """Images/s of one thread, which is at most one core, and of ``read_threads``."""

    one_thread: float
    read_threads: int
    all_threads: float
    num_bytes: int  # of the split, decoded
    cached: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Need:
    """Eq. (1), for one stage."""

    stage: str
    batch_size: int
    images_per_second: float
    cores: float
    keeps_up: bool


def measure(data: Data, seconds: float) -> Rates:
    """Time batches of split "train", ``seconds`` for each of the two rates.

    Raises:
      DataError: as ``Data.open``.
    """
    images = require_kind(data, Images, "data")
    streamed = dataclasses.replace(images, cache_bytes=0)
    size = min(BATCH, streamed.num_examples("train"))
    batches = streamed.train_batches(seed=0, batch_size=size)
    alone = _rate((batches.batch(k) for k in range(batches.num_batches)), seconds)
    iterator = batches.iterate()
    together = _rate(iterator, seconds)
    iterator.close()
    h, w, c = data.data_shape
    num_bytes = streamed.num_examples("train") * h * w * c
    return Rates(
        one_thread=alone,
        read_threads=data.read_threads,
        all_threads=together,
        num_bytes=num_bytes,
        cached=num_bytes <= images.cache_bytes,
    )


def needs(
    rates: Rates, batch_sizes: Mapping[str, int], *, step_seconds: float, hosts: int
) -> list[Need]:
    """What each stage asks of a host."""
    found = []
    for stage, batch_size in batch_sizes.items():
        needed = batch_size / (hosts * step_seconds)
        found.append(
            Need(
                stage=stage,
                batch_size=batch_size,
                images_per_second=needed,
                cores=needed / rates.one_thread,
                keeps_up=needed <= rates.all_threads,
            )
        )
    return found


def markdown(
    rates: Rates, found: list[Need], *, step_seconds: float, hosts: int
) -> str:
    """The rates in words, the needs as a table."""
    cached = "is decoded once and kept" if rates.cached else "is decoded every epoch"
    words = [
        f"One thread: {rates.one_thread:,.0f} images/s. "
        f"{rates.read_threads} threads: {rates.all_threads:,.0f} images/s. "
        f"The training split, {rates.num_bytes / 2**30:.2f} GiB, {cached}.",
        "",
        f"Needed on each of {hosts} hosts, at {step_seconds:g} s an update:",
        "",
    ]
    rows = [
        [
            need.stage,
            "yes" if need.keeps_up else "no: raise config.data.read_threads",
            str(need.batch_size),
            f"{need.images_per_second:,.0f}",
            f"{need.cores:.2f}",
        ]
        for need in found
    ]
    header = ["stage", "keeps up", "batch", "images/s", "cores"]
    return "\n".join([*words, *markdown_table(header, rows, texts=2)]) + "\n"


def write(rates: Rates, found: list[Need], text: str, out: pathlib.Path) -> None:
    """Write ``data.md`` and ``data.json`` into ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    write_file(out / "data.md", text)
    record = {
        "rates": dataclasses.asdict(rates),
        "needs": [dataclasses.asdict(need) for need in found],
    }
    write_file(out / "data.json", json.dumps(record, indent=1) + "\n")


def _rate(batches: Iterator[Mapping], seconds: float) -> float:
    """Images/s, after as many batches as threads may have read ahead."""
    for _ in range(READ_AHEAD + 1):
        next(batches)
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or not count:
        count += len(next(batches)["levels"])
    return count / elapsed
