"""The flag that says which packages stored configs may name."""

import pathlib

from absl import flags
from ml_collections import config_flags

from lsgm.trust import require_trusted

# The config file that reads a stored config.
RESOLVED = pathlib.Path(__file__).resolve().parents[1] / "configs" / "resolved.py"
_TRUST = flags.DEFINE_multi_string(
    "trust",
    [],
    "A package, besides lsgm, whose classes a stored config may name: that of a "
    "checkpoint, of a workdir, of an evaluation. Its code is run. May be repeated.",
)


@flags.validator(_TRUST, message="name a package, such as mypackage or mypackage.part")
def _are_packages(names: list[str]) -> bool:
    return all(part.isidentifier() for name in names for part in name.split("."))


def trusted() -> tuple[str, ...]:
    """The packages that the flags name."""
    return tuple(_TRUST.value)


def check_config_flag() -> None:
    """Check the config of ``--config``, if any, where ``configs/resolved.py`` read it.

    Raises:
      lsgm.config.ConfigError: it names a package that no flag trusts.
    """
    flag = flags.FLAGS["config"] if "config" in flags.FLAGS else None
    if flag is None or flag.value is None:
        return
    path = config_flags.get_config_filename(flag).partition(":")[0]
    if pathlib.Path(path).resolve() == RESOLVED:
        require_trusted(flag.value, trusted())
