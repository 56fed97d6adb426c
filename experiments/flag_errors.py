"""One line, not a traceback, for a command line that cannot be used as given."""

import difflib
import pathlib
import re
import sys
import traceback

import ml_collections
from absl import flags

from experiments import help_page
from experiments.trust_flag import check_config_flag
from lsgm.config import ConfigError

_LIBRARY = pathlib.Path(ml_collections.__file__).parent


def parse_flags(argv: list[str]) -> list[str]:
    """For ``app.run(main, flags_parser=parse_flags)``: what flags leave of ``argv``.

    Raises:
      SystemExit: ``--help`` was asked for; no such config file or variant, an override
        of a key that the config does not have, a value that a flag cannot take, flags
        that are missing, or a stored config that names a package that ``--trust``
        does not.
    """
    if help_page.is_asked(argv):
        print(help_page.page())
        sys.exit(0)
    _check_config_file(argv)
    try:
        rest = flags.FLAGS(argv)
        check_config_flag()
        return rest
    except ConfigError as error:
        sys.exit(f"error: {error}")
    except flags.Error as error:
        text = str(error).strip()
        if missing := re.findall(rf"Flag --(\w+) {help_page.MISSING}", text):
            words = ", ".join(f"--{name}" for name in sorted(missing))
            sys.exit(f"error: missing {words}; --help says what they are")
        # Of an error in a config file the library gives a traceback. Its last line
        # is enough where the file itself refuses a value.
        last = text.splitlines()[-1].strip()
        if last.startswith("ValueError: "):
            config = _config_of(argv) or ""
            text = f"--config={config}: {last.removeprefix('ValueError: ')}"
        sys.exit(f"error: {text}")
    except AttributeError as error:
        raised_in = pathlib.Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        if _LIBRARY not in raised_in.parents:
            raise  # the config file itself is at fault
        text = str(error)  # the key, and at times: Did you mean "..."
        key = re.findall(r"\w+", text)[0]
        nearest = [f" Did you mean {k!r}?" for k in re.findall(r'mean "(\w+)"', text)]
        given = [a for a in argv if a.startswith("--config.") and key in a]
        sys.exit(
            f"error: {' '.join(given)}: the config has no key {key!r}."
            + "".join(nearest)
        )


def _config_of(argv: list[str]) -> str | None:
    """What ``--config=...`` or ``--config ...`` names, its variant included."""
    for word, following in zip(argv, [*argv[1:], ""], strict=True):
        if word in ("--config", "-config"):
            return following
        if match := re.match("--?config=(.*)", word):
            return match[1]
    return None


def _check_config_file(argv: list[str]) -> None:
    config = _config_of(argv)
    if config is None:
        return
    path = pathlib.Path(config.partition(":")[0])
    if path.is_file():
        return
    beside = [str(p) for p in path.parent.glob("*.py")] or [
        str(p) for p in pathlib.Path().glob("configs/**/*.py")
    ]
    close = difflib.get_close_matches(str(path), beside, n=1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    what = "is a folder" if path.is_dir() else "does not exist"
    sys.exit(f"error: --config={config}: {path} {what}; name a config file.{guess}")
