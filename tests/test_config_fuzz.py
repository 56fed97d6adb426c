"""Whatever is mistyped: a config can be trained, or is refused in one line by key."""

import functools
import pathlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from lsgm.config import ConfigError
from lsgm.runs import dry_run, experiment
from tests import tiny
from tests.mutated import as_lists, mutated, paths_of

CONFIG = tiny.config().to_dict()
# Seeded: a run of the suite is like the one before.
FUZZ = functools.partial(
    settings,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def build_or_refuse(config: Any) -> Any:
    """The experiment; None where it is refused as it should be."""
    try:
        return experiment.from_config(config)
    except ConfigError as error:
        assert_one_line(error)
        return None


def assert_one_line(error: ConfigError) -> None:
    text = str(error)
    assert "\n" not in text
    assert text.startswith(f"config.{error.key} = " if error.key else "config = ")


@FUZZ(max_examples=60)
@given(mutated(CONFIG))
def test_a_mistyped_config_is_checked_or_refused(config):
    build_or_refuse(config)


@pytest.mark.slow
@FUZZ(max_examples=1000)
@given(mutated(CONFIG))
def test_a_mistyped_config_is_described_or_refused(config):
    """More of them, down to the shapes of all parameters."""
    made = build_or_refuse(config)
    if made is None:
        return
    try:
        dry_run.describe(made, config, pathlib.Path("nowhere"))
    except ConfigError as error:
        assert_one_line(error)


def test_networks_that_cannot_be_built_are_refused_by_stage():
    """All keys are right, one by one."""
    config = as_lists(CONFIG)
    config["vae"]["network"]["dtype"] = "x"
    made = build_or_refuse(config)
    assert made is not None
    with pytest.raises(ConfigError, match="its networks cannot be built") as error:
        dry_run.describe(made, config, pathlib.Path("nowhere"))
    assert error.value.key == "stages.vae"
    assert_one_line(error.value)


def test_every_entry_of_the_config_may_be_changed():
    assert ("stages", "lsgm", "prior", "sde", "target") in set(
        paths_of(as_lists(CONFIG))
    )
