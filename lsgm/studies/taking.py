"""A finished stage of one run as a stage of another, without a second copy.

The folder of the stage is made of links to the files of the run that trained it, but
for what its checkpoint says of itself: there stands the config of the run that takes
it. So the checkpoint describes that run, as if it had trained alone, and evaluating
it uses that run's sampler and settings.
"""

import json
import os
import pathlib
import shutil
from typing import Any

from lsgm.training.checkpoints import list_steps

CHECKPOINTS, META = "checkpoints", "meta"


def take(
    stage: str, source: pathlib.Path, folder: pathlib.Path, config: dict[str, Any]
) -> None:
    """Make ``folder/stage`` from ``source/stage``, unless it is there.

    It takes its name when complete. Links are relative: a study can be moved.

    Args:
      source: workdir whose stage is finished.
      config: the resolved config of the workdir ``folder``.
    """
    target = folder / stage
    if target.exists():
        return
    partial = folder / f"{stage}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    _link_all(source / stage, partial, but=CHECKPOINTS)
    step = str(list_steps(source / stage / CHECKPOINTS)[-1])
    there, here = (f / CHECKPOINTS / step for f in (source / stage, partial))
    _link_all(there, here, but=META)
    shutil.copytree(there / META, here / META)
    words = here / META / "metadata"
    meta = json.loads(words.read_text())
    words.write_text(json.dumps({**meta, "config": config}))
    partial.rename(target)


def _link_all(source: pathlib.Path, folder: pathlib.Path, but: str) -> None:
    folder.mkdir(parents=True)
    for entry in sorted(source.iterdir()):
        if entry.name != but:
            # A link's own parent, resolved, is where its relative target starts.
            target = os.path.relpath(entry.resolve(), folder.resolve())
            (folder / entry.name).symlink_to(target)
