"""A published denoising diffusion GAN in its file: weights, averages, arguments.

``netG_<epoch>.pth`` is the generator's state dictionary and nothing else, averaged
where the run averages. ``content.pth`` has both networks, the generator's raw weights
with the averages in its optimiser, the run's arguments, and its step. All names begin
with "module.".
"""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from lsgm.interop import files, torch_run
from lsgm.interop.files import State
from lsgm.interop.torch_file import FileError, open_file

PREFIX = "module."
# In every generator's state dictionary, and in no other that is published.
SIGN = f"{PREFIX}z_transform.1.weight"


class PublishedGan(NamedTuple):
    """What a file holds.

    Attributes:
      generator: state dictionary to sample with, or raw beside an average.
      average: averaged parameters of the generator where ``generator`` holds raw ones.
      discriminator: None where the file has none.
      args: the run's arguments.
      step: updates made; 0 where the file does not say.
    """

    generator: State
    average: State | None
    discriminator: State | None
    args: dict[str, Any]
    step: int


def read(
    path: pathlib.Path, args: Mapping[str, Any] | None = None
) -> PublishedGan | None:
    """Read a file by its suffix; None if it is of another system.

    Args:
      args: replace the file's own, which a generator alone does not have.

    Raises:
      FileError: unreadable, unsafe, or without arguments.
    """
    found = _read(path)
    if found is None:
        return None
    found = found._replace(args=dict(found.args if args is None else args))
    if not found.args:
        raise FileError(
            f"{path} has no arguments of the run: give them as JSON with --args"
        )
    return found


def _read(path: pathlib.Path) -> PublishedGan | None:
    if not path.is_file() or path.suffix not in files.TORCH:
        state = files.read_state(path)
        return (
            PublishedGan(_bare(path, state), None, None, {}, 0) if _own(state) else None
        )
    file = open_file(path)
    content = file.content
    if not isinstance(content, Mapping):
        return None
    if _own(content):
        state = _bare(path, file.arrays(content))
        return PublishedGan(state, None, None, {}, 0)
    if "netG_dict" not in content:
        return None
    raw, average = content["netG_dict"], None
    optimizer = content.get("optimizerG", {"state": {}})
    if any("ema" in own for own in optimizer["state"].values()):
        found = torch_run.average(raw, optimizer, "optimizerG", "netG_dict")
        average = _bare(path, file.arrays(found))
    judge = content.get("netD_dict")
    return PublishedGan(
        generator=_bare(path, file.arrays(raw)),
        average=average,
        discriminator=None if judge is None else _bare(path, file.arrays(judge)),
        args=dict(content.get("args", {})),
        step=int(content.get("global_step", 0)),
    )


def _own(content: Mapping[str, Any]) -> bool:
    return SIGN in content


def _bare(path: pathlib.Path, state: State) -> State:
    """Names without the wrapper's prefix."""
    wrong = [name for name in state if not name.startswith(PREFIX)]
    if wrong:
        raise FileError(f"{path}: names begin with {PREFIX}, but not {wrong[0]}")
    return {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}
