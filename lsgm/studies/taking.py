"""A finished stage of one run as a stage of another, without a second copy.

The folder of the stage is made of links to the files of the run that trained it, but
for what its checkpoints say of themselves: there stands the config of the run that
takes it. So they describe that run, as if it had trained alone, and evaluating them
uses that run's sampler and settings.
"""

import os
import pathlib
import shutil
from typing import Any

from lsgm.training.checkpoints import BEST, NEWEST, list_steps, replace_config

META = "meta"


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
    _link_all(source / stage, partial, but=(NEWEST, BEST))
    for kind in (NEWEST, BEST):
        for step in list_steps(source / stage / kind)[-1:]:
            there, here = (f / kind / str(step) for f in (source / stage, partial))
            _take_checkpoint(there, here, config)
    partial.rename(target)


def _take_checkpoint(
    there: pathlib.Path, here: pathlib.Path, config: dict[str, Any]
) -> None:
    _link_all(there, here, but=(META,))
    shutil.copytree(there / META, here / META)
    replace_config(here, config)


def _link_all(source: pathlib.Path, folder: pathlib.Path, but: tuple[str, ...]) -> None:
    folder.mkdir(parents=True)
    for entry in sorted(source.iterdir()):
        if entry.name not in but:
            # A link's own parent, resolved, is where its relative target starts.
            target = os.path.relpath(entry.resolve(), folder.resolve())
            (folder / entry.name).symlink_to(target)
