"""Where a stage's records go: JSON lines, TensorBoard, PNG files, a progress line.

``metrics.jsonl`` holds one record per line, ``{"step": ..., name: value, ...}``, and
is what reports and tests read. Times and rates stand in ``timing.jsonl``, so that a
resumed run's records equal the uninterrupted run's. On resume, records after the
restored step are dropped: the resumed run writes them again.
"""

import pathlib
import sys
import time
from collections.abc import Mapping
from types import TracebackType

import jax
import numpy as np
import tensorboardX
import tqdm
from PIL import Image

from lsgm.records import open_records, write_record

SHOWN = ("nelbo", "reconstruction", "neg_entropy", "cross_entropy", "loss_prior")
PLAIN_SECONDS = 10.0


class Writers:
    """All records of one stage; does nothing but on the first process."""

    def __init__(self, folder: pathlib.Path, stage: str, step: int, num_steps: int):
        """Open the records of ``folder`` to go on after ``step`` of ``num_steps``."""
        self._folder, self._stage, self._step = folder, stage, step
        self._active = jax.process_index() == 0
        if not self._active:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._metrics = open_records(folder / "metrics.jsonl", step)
        self._timing = open_records(folder / "timing.jsonl", step)
        self._events = tensorboardX.SummaryWriter(
            str(folder / "events"), purge_step=step + 1, flush_secs=30
        )
        self._progress = Progress(stage, step, num_steps)
        self._logged = (step, time.monotonic())

    def __enter__(self) -> "Writers":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._active:
            self._progress.close()
            self._metrics.close()
            self._timing.close()
            self._events.close()

    def advance(self, step: int) -> None:
        """A step was dispatched: move the progress line."""
        if self._active:
            self._progress.advance(step)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One record, in every place; the progress line shows the loss parts."""
        if not self._active:
            return
        write_record(self._metrics, {"step": step, **values})
        for name, value in values.items():
            self._events.add_scalar(name, value, step)
        self._progress.show({k: values[k] for k in SHOWN if k in values})

    def rate(self, step: int) -> None:
        """Steps per second since the last call."""
        if not self._active:
            return
        before, began = self._logged
        now = time.monotonic()
        rate = (step - before) / max(now - began, 1e-9)
        write_record(self._timing, {"step": step, "steps_per_second": rate})
        self._events.add_scalar("steps_per_second", rate, step)
        self._logged = (step, now)

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """A picture, uint8 [h w c], as ``<name>/<step>.png`` and as an event."""
        if not self._active:
            return
        path = self._folder / name / f"{step:08d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(
            picture.squeeze(-1) if picture.shape[-1] == 1 else picture
        ).save(path)
        self._events.add_image(name, picture, step, dataformats="HWC")


class Progress:
    """One line per stage: step, steps/s, time left, loss parts.

    On a terminal the line renews itself; elsewhere a plain line is printed every
    ten seconds.
    """

    def __init__(self, stage: str, step: int, num_steps: int):
        self._plain = not sys.stderr.isatty()
        self._shown: dict[str, float] = {}
        self._bar = tqdm.tqdm(
            total=num_steps,
            initial=step,
            desc=stage,
            unit="step",
            dynamic_ncols=True,
            disable=None,
        )
        self._stage, self._num_steps = stage, num_steps
        self._start = (step, time.monotonic())
        self._printed = time.monotonic()
        self._step = step

    def advance(self, step: int) -> None:
        self._bar.update(step - self._step)
        self._step = step
        if step == self._start[0] + 1:
            # The first step compiles; the rate is of those after it.
            self._start = (step, time.monotonic())
        last = step == self._num_steps
        if self._plain and (last or time.monotonic() - self._printed > PLAIN_SECONDS):
            self._print()

    def show(self, values: Mapping[str, float]) -> None:
        self._shown.update(values)
        self._bar.set_postfix_str(self._parts(), refresh=False)

    def close(self) -> None:
        self._bar.close()

    def _parts(self) -> str:
        return " ".join(f"{name} {value:.2f}" for name, value in self._shown.items())

    def _print(self) -> None:
        self._printed = time.monotonic()
        step, began = self._start
        rate = (self._step - step) / max(self._printed - began, 1e-9)
        left = (self._num_steps - self._step) / rate if rate else float("inf")
        eta = tqdm.tqdm.format_interval(left) if rate else "?"
        print(
            f"{self._stage} step {self._step}/{self._num_steps}  "
            f"{rate:.2f} steps/s  ETA {eta}  {self._parts()}",
            flush=True,
        )
