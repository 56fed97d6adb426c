"""Studies: what they refuse, and which runs they come to."""

import pytest

from configs.ablations.common import study as new_study
from lsgm.config import ConfigError
from lsgm.studies import study
from tests import tiny

RTOL = "stages.lsgm.prior.sampler.num_steps"


def config(**axes):
    return new_study(title="t", base=tiny.config(), axes=axes, seeds=(3, 5))


def runs(**axes):
    return study.runs(study.from_config(config(**axes)))


def test_runs_are_the_product_with_the_first_seed_of_every_point_first():
    found = runs(
        batch={"8": {"stages.vae.batch_size": 8}, "4": {}},
        calls={"few": {RTOL: 2}, "many": {RTOL: 9}},
    )
    assert [run.name for run in found] == [
        f"{batch}_{calls}_seed{seed}"
        for seed in (3, 5)
        for batch in ("8", "4")
        for calls in ("few", "many")
    ]
    first, last = found[0].config, found[-1].config
    assert first["stages"]["vae"]["batch_size"] == 8
    assert first["stages"]["lsgm"]["prior"]["sampler"]["num_steps"] == 2
    assert last["stages"]["vae"]["batch_size"] == 4
    assert last["stages"]["lsgm"]["prior"]["sampler"]["num_steps"] == 9
    assert (first["seed"], last["seed"]) == (3, 5)


def test_a_label_changes_several_keys_and_fields_that_the_base_leaves_alone():
    keys = {"stages.vae.batch_size": 8, "stages.lsgm.prior.mixed": False}
    (run, _) = runs(both={"x": keys})
    assert run.config["stages"]["vae"]["batch_size"] == 8
    assert run.config["stages"]["lsgm"]["prior"]["mixed"] is False


def test_a_label_changes_a_field_of_a_piece_in_a_tuple():
    key = "evaluation.measures.HeldOutBound.num_draws"
    (run, _) = runs(draws={"7": {key: 7}})
    changed = {m["target"]: m for m in run.config["evaluation"]["measures"]}
    asked = {m["target"]: m for m in tiny.config().evaluation.measures}
    target = "lsgm.evaluation.measures.bound:HeldOutBound"
    assert changed[target] == {**asked[target], "num_draws": 7}
    assert [*changed] == [*asked]


def test_a_class_that_a_tuple_holds_twice_is_no_name():
    spec = config(a={"x": {"evaluation.measures.HeldOutBound.num_draws": 7}})
    spec.base.evaluation.measures *= 2
    with pytest.raises(ConfigError, match="no 'evaluation.measures.HeldOutBound'"):
        study.runs(study.from_config(spec))


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("evaluation.measures.Bounds.num_draws", "no 'evaluation.measures.Bounds'"),
        ("evaluation.measures.HeldOutBound", "name a field of one of"),
        ("evaluation.measures.HeldOutBound.draws", "no 'draws'"),
        ("stages.vae.num_step", "did you mean 'num_steps'"),
        ("stages.vea.num_steps", "did you mean 'vae'"),
        ("stages.lsgm.prior.mixd", "did you mean 'mixed'"),
        ("stages.vae.num_steps.x", "no 'stages.vae.num_steps'"),
    ],
)
def test_an_unknown_key_is_refused_with_the_axis_and_the_nearest(key, message):
    with pytest.raises(ConfigError, match=message) as error:
        runs(axis={"label": {key: 1}})
    assert error.value.key == "axes.axis.label"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(measures=("bond",)), "did you mean 'bound'"),
        (dict(measures=("bond.nelbo",)), "starts with a measure of the base"),
        (dict(match="flops"), "expected"),
        (dict(seeds=()), "at least one"),
        (dict(seeds=(1, 1)), "none of them twice"),
        (dict(seeds=("1",)), "expected"),
        (dict(axes={"a": {"x/y": {}}}), "folders are named so"),
        (dict(axes={"a": {}}), "at least one label"),
        (dict(axes={"a": {"x": {"seed": 1}}}), "belongs into 'seeds'"),
        (dict(sed=1), "did you mean 'seeds'"),
    ],
)
def test_a_wrong_study_is_refused(changes, message):
    spec = {**dict(config(a={"x": {}}).items()), **changes}
    with pytest.raises(ConfigError, match=message):
        study.from_config(spec)


def test_two_axes_may_not_change_one_key():
    with pytest.raises(ConfigError, match="axis 'a' changes it too"):
        runs(a={"x": {RTOL: 1}}, b={"x": {RTOL: 2}})


def test_the_base_is_not_changed():
    asked = study.from_config(config(a={"x": {RTOL: 1}}))
    study.runs(asked)
    assert asked.base["stages"]["lsgm"]["prior"]["sampler"]["num_steps"] == 3
