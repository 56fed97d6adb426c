"""Where a stage's records go: JSON lines, TensorBoard, PNG files, a progress line.

``metrics.jsonl`` holds one record per line, ``{"step": ..., name: value, ...}``, and
is what reports and tests read. Times and rates stand in ``timing.jsonl``, so that a
resumed run's records equal the uninterrupted run's. On resume, records after the
restored step are dropped: the resumed run writes them again.
"""

import contextlib
import pathlib
import sys
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import jax
import numpy as np
import tqdm
from PIL import Image
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import event_pb2

from lsgm.training.records import open_records, read_records, write_record

# Protocol buffers come to their names at run time, out of a type checker's sight.
Event: Any = getattr(event_pb2, "Event")  # noqa: B009
SessionLog: Any = getattr(event_pb2, "SessionLog")  # noqa: B009
SHOWN = ("nelbo", "reconstruction", "neg_entropy", "cross_entropy")
PLAIN_SECONDS = 10.0
METRICS = "metrics.jsonl"


class WriteError(OSError):
    """A record that cannot be written, because the disk is full for example."""


class Writers:
    """All records of one stage; does nothing but on the first process.

    Attributes:
      num_records: lines of ``metrics.jsonl``.
    """

    def __init__(self, folder: pathlib.Path, stage: str, step: int, num_steps: int):
        """Open the records of ``folder`` to go on after ``step`` of ``num_steps``."""
        self._folder = folder
        self._active = jax.process_index() == 0
        self.num_records = 0
        if not self._active:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._metrics = open_records(folder / METRICS, step)
        self.num_records = len(read_records(folder / METRICS))
        self._timing = open_records(folder / "timing.jsonl", step)
        self._events = Events(folder / "events", step)
        self._progress = TrainingProgress(stage, step, num_steps)
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
            for file in (self._metrics, self._timing, self._events):
                # All was flushed; what fails again here has been reported.
                with contextlib.suppress(OSError):
                    file.close()

    def advance(self, step: int) -> None:
        """A step was dispatched: move the progress line."""
        if self._active:
            self._progress.advance(step)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One record, in every place; the progress line shows the loss parts.

        Raises:
          WriteError: it could not be written.
        """
        if not self._active:
            return
        with self._writing(step):
            write_record(self._metrics, {"step": step, **values})
            self.num_records += 1
            self._events.scalars(step, values)
        losses = [k for k in values if k.startswith("loss_") and k != "loss_vae"]
        self._progress.show({k: values[k] for k in (*SHOWN, *losses) if k in values})

    def rate(self, step: int) -> None:
        """Steps per second since the last call, and the time of day.

        Raises:
          WriteError: it could not be written.
        """
        if not self._active:
            return
        before, began = self._logged
        now = time.monotonic()
        rate = {"steps_per_second": (step - before) / max(now - began, 1e-9)}
        self._logged = (step, now)
        with self._writing(step):
            write_record(self._timing, {"step": step, "time": time.time(), **rate})
            self._events.scalars(step, rate)

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """A picture, uint8 [h w c], as ``<name>/<step>.png`` and as an event.

        Raises:
          WriteError: it could not be written.
        """
        if not self._active:
            return
        squeezed = picture.squeeze(-1) if picture.shape[-1] == 1 else picture
        path = self._folder / name / f"{step:08d}.png"
        with self._writing(step):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(squeezed).save(path)
            self._events.picture(step, name, picture)

    @contextlib.contextmanager
    def _writing(self, step: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WriteError(
                f"cannot write the records of step {step} in {self._folder}: {error}. "
                "Make room, and start the same command again: it goes on from the "
                "last checkpoint."
            ) from error


class Events:
    """TensorBoard's event file, written at once and in this thread.

    ``tensorboardX.SummaryWriter`` writes from a thread of its own; on a full disk
    that thread dies, its queue fills up, and the training waits for ever.
    """

    def __init__(self, folder: pathlib.Path, step: int):
        """A new file in ``folder``; what older ones hold after ``step`` is void."""
        folder.mkdir(parents=True, exist_ok=True)
        self._file = EventsWriter(str(folder / "events"), f".{step}")
        # TensorBoard drops what it has read with this step or a later one.
        start = SessionLog(status=SessionLog.SessionStatus.START)
        self._write(Event(wall_time=time.time(), step=step + 1, session_log=start))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._add(step, summary.scalar(name, value))
        self._file.flush()

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        self._add(step, summary.image(name, picture, dataformats="HWC"))
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _add(self, step: int, content: Any) -> None:
        self._write(Event(wall_time=time.time(), step=step, summary=content))

    def _write(self, event: Any) -> None:
        self._file.write_event(event)


class TrainingProgress:
    """One line per stage: step, steps/s, time left, loss parts.

    On a terminal the line renews itself; elsewhere a plain line is printed every
    ten seconds.
    """

    def __init__(self, stage: str, step: int, num_steps: int):
        self._stage, self._step, self._num_steps = stage, step, num_steps
        self._shown: dict[str, float] = {}
        self._bar = tqdm.tqdm(
            total=num_steps,
            initial=step,
            desc=stage,
            unit="step",
            dynamic_ncols=True,
            disable=None,
        )
        self._compiled: tuple[int, float] | None = None
        self._printed = time.monotonic()
        if self._plain:
            print(f"{stage} step {step}/{num_steps}  compiling", flush=True)

    @property
    def _plain(self) -> bool:
        return not sys.stderr.isatty()

    def advance(self, step: int) -> None:
        self._bar.update(step - self._step)
        self._step = step
        if self._compiled is None:
            # The first step compiles; the rate is of those after it.
            self._compiled = (step, time.monotonic())
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
        print(
            f"{self._stage} step {self._step}/{self._num_steps}",
            *(part for part in (self._rate(), self._parts()) if part),
            sep="  ",
            flush=True,
        )

    def _rate(self) -> str:
        """Speed and time left; nothing before two steps are done."""
        first, began = self._compiled or (self._step, 0.0)
        if self._step == first:
            return ""
        rate = (self._step - first) / max(self._printed - began, 1e-9)
        left = tqdm.tqdm.format_interval((self._num_steps - self._step) / rate)
        return f"{rate:.2f} steps/s  ETA {left}"
