"""What ``--help`` prints: what a command does, with examples, then all of its flags."""

import sys
import textwrap
from collections.abc import Iterator, Sequence

from absl import flags

WORDS = ("--help", "-help", "-h", "-?", "--helpshort")
WIDTH = 88
# How absl's validator says that a flag was not given.
MISSING = "must have a value other than None"
# What absl adds to flags that may be repeated, and around defaults.
REPEATED = "; repeat this option to specify a list of values"
QUOTES = "'"
CONFIG = "Any key of the config can be set: --config.stages.vae.num_steps=2000."


def is_asked(argv: Sequence[str]) -> bool:
    """Whether a command line asks for this page."""
    return any(word in WORDS for word in argv[1:])


def page() -> str:
    """The page of the command that runs."""
    lines = [(sys.modules["__main__"].__doc__ or "").strip(), "", "Flags:"]
    own = sorted(_own(), key=lambda flag: (not _is_required(flag), flag.name))
    lines += [_line(flag) for flag in own]
    if any(flag.name == "config" for flag in own):
        lines += ["", CONFIG]
    return "\n".join(lines)


def _own() -> Iterator[flags.Flag]:
    """Flags of the command and of what commands share; none of the libraries'."""
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        if module == sys.argv[0] or module.startswith("experiments."):
            yield from defined


def _is_required(flag: flags.Flag) -> bool:
    return any(MISSING in str(v.message) for v in flag.validators)


def _line(flag: flags.Flag) -> str:
    name = f"[no]{flag.name}" if flag.boolean else flag.name
    if _is_required(flag):
        what = "(required)"
    elif flag.default is None or flag.default == []:
        what = ""
    else:
        what = f"(default: {str(flag.default_as_str).strip(QUOTES)})"
    said = " ".join((flag.help or "").split()).removesuffix(REPEATED)
    text = f"--{name}  {said} {what}".rstrip()
    return textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent=" " * 6)
