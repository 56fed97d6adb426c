"""Overrides on the command line: a mistyped key is named, with the nearest one."""

import json
import sys

import pytest
from absl import flags
from ml_collections import config_flags

from experiments import flag_errors, trust_flag

# ml_collections loads config files in a way that Python 3.12 drops.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
DEMO = "--config=configs/demo.py:smoke"


def parsed(monkeypatch, *argv):
    """The config after ``train *argv``; its flags look at the process's own line."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, flag_values=values)
    monkeypatch.setattr(flag_errors.flags, "FLAGS", values)
    monkeypatch.setattr(sys, "argv", ["train", *argv])
    monkeypatch.setattr(trust_flag.flags, "FLAGS", values)
    flag_errors.parse_flags(sys.argv)
    return values.config


def test_known_key_is_set(monkeypatch):
    config = parsed(monkeypatch, DEMO, "--config.stages.vae.num_steps=7")
    assert config.stages.vae.num_steps == 7


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("--config.sed=3", "sed=3: the config has no key 'sed'. Did you mean 'seed'?"),
        ("--config.stages.vae.num_step=3", "no key 'num_step'. Did you mean 'num_ste"),
        ("--config.data.source.nowhere=3", "nowhere=3: the config has no key 'nowhe"),
    ],
)
def test_unknown_key_is_named(monkeypatch, override, said):
    with pytest.raises(SystemExit) as stopped:
        parsed(monkeypatch, DEMO, override)
    assert said in str(stopped.value)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("configs/dmo.py", "does not exist; .* Did you mean 'configs/demo.py'"),
        ("configs", "configs is a folder; name a config file"),
        ("configs/demo.py:smok", "variant 'smok': allowed are full, smoke, shipped$"),
        ("configs/resolved.py", "name the file after a colon"),
        ("configs/resolved.py:nowhere.json", "nowhere.json cannot be read"),
        ("configs/resolved.py:/dev/null", "/dev/null cannot be read"),
    ],
)
def test_a_mistyped_file_or_variant_is_told_in_one_line(monkeypatch, config, said):
    with pytest.raises(SystemExit, match=said) as stopped:
        parsed(monkeypatch, f"--config={config}")
    text = str(stopped.value)
    assert text.startswith(f"error: --config={config}: ") and "\n" not in text


def test_an_error_of_the_config_file_itself_keeps_its_traceback(monkeypatch, tmp_path):
    (tmp_path / "broken.py").write_text("def get_config():\n    return None.seed\n")
    with pytest.raises(AttributeError, match="NoneType"):
        parsed(monkeypatch, f"--config={tmp_path}/broken.py")


def test_a_stored_config_names_trusted_packages_only(monkeypatch, tmp_path):
    """A config of the user's own may name any."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"vae": {"target": "mine.vae:VAE"}}))
    words = (f"--config=configs/resolved.py:{path}", "--config.vae.target=mine.b:VAE")
    monkeypatch.setattr(trust_flag, "trusted", lambda: ())
    for given in (words[:1], words):
        with pytest.raises(SystemExit, match="error: config.vae.target.*--trust=mine"):
            parsed(monkeypatch, *given)
    monkeypatch.setattr(trust_flag, "trusted", lambda: ("mine",))
    assert parsed(monkeypatch, *words).vae.target == "mine.b:VAE"
    monkeypatch.setattr(trust_flag, "trusted", lambda: ())
    assert parsed(monkeypatch, DEMO, "--config.vae.target=mine.vae:VAE")


@pytest.mark.parametrize("name", ["", "a/b", "mine:VAE", "*", "a..b"])
def test_trust_is_of_packages(name):
    with pytest.raises(flags.IllegalFlagValueError, match="name a package"):
        trust_flag.flags.FLAGS(["x", f"--trust={name}"])
