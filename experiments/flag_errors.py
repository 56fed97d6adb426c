"""One line, not a traceback, for a ``--config`` that cannot be used as given."""

import pathlib
import re
import sys
import traceback

import ml_collections
from absl import app

from experiments.trust_flag import check_config_flag
from lsgm.config import ConfigError

_LIBRARY = pathlib.Path(ml_collections.__file__).parent


def parse_flags(argv: list[str]) -> list[str]:
    """For ``app.run(main, flags_parser=parse_flags)``: what flags leave of ``argv``.

    Raises:
      SystemExit: an override names a key that the config does not have, or a stored
        config names a package that ``--trust`` does not.
    """
    try:
        rest = app.parse_flags_with_usage(argv)
        check_config_flag()
        return rest
    except ConfigError as error:
        sys.exit(f"error: {error}")
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
