"""A workdir belongs to one config, which it holds as ``config.json``."""

import json
import pathlib
from typing import Any

from flax.traverse_util import flatten_dict

from lsgm.files import read_object, write_file
from lsgm.runs.stored import resolve
from lsgm.terminal import warn
from lsgm.training.checkpoints import CONFIG, read_config


class WorkdirError(RuntimeError):
    """The workdir holds another run."""


def claim(workdir: pathlib.Path, config: dict[str, Any]) -> None:
    """Write the config into a new workdir, or check that it is the one there."""
    path, stored = workdir / CONFIG, read_config(workdir)
    if read_object(path) is None:
        if path.exists():
            warn(f"{path} is damaged: set aside, and written anew")
            path.replace(path.with_name(f"{path.name}.damaged"))
        # Each process of a run on several hosts writes the same.
        content = config if stored is None else stored
        write_file(path, json.dumps(content, indent=2, sort_keys=True) + "\n")
    if stored is None:
        return
    there, here = (flatten_dict(tree, sep=".") for tree in (resolve(stored), config))
    changed = [
        f"  {key}: {there.get(key, 'absent')!r} there, {here.get(key, 'absent')!r} now"
        for key in sorted(there.keys() | here.keys())
        if there.get(key) != here.get(key)
    ]
    if changed:
        raise WorkdirError(
            f"{workdir} was started with another config; use another workdir, or "
            "undo the difference:\n" + "\n".join(changed)
        )
