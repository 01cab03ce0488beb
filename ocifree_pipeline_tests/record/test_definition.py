"""Every asset records in the same way, and every class of error leads to its own reaction."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ocifree_pipeline.deployment import errors
from ocifree_pipeline.deployment.blueprint import Blueprint, blueprint_of
from ocifree_pipeline.deployment.errors import OcifreeError, Reaction, reaction_to
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.record.definition import Step, Verdict, define_asset, define_check
from ocifree_pipeline.record.facts import find_facts, read_facts
from ocifree_pipeline.record.outcome import Facts, Outcome, as_table


class Colour(Facts):
    name: str


@pytest.fixture(scope="module")
def blueprint() -> Blueprint:
    return blueprint_of(parse(example("talos-native")))


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def asset(blueprint: Blueprint, body: Any, key: str = "test/colour", **more: Any) -> dg.AssetsDefinition:
    return define_asset(blueprint, key, body, group="test", kinds={"python"}, describe="A colour.", **more)


def paint(step: Step) -> Outcome:
    return Outcome(
        summary="it is blue",
        facts=Colour(name="blue"),
        plan=("mix blue",),
        numbers={"litres": 2, "share": 0.5},
        evidence=[{"pot": "a|b", "full": True}],
        links={"console": "https://example.org"},
    )


def test_a_materialization_says_what_why_and_how_long(blueprint: Blueprint, instance: dg.DagsterInstance) -> None:
    result = dg.materialize([asset(blueprint, paint)], instance=instance)
    metadata = result.asset_materializations_for_node("test__colour")[0].metadata
    assert metadata["summary"].value == "it is blue"
    assert metadata["plan"].value == "- mix blue"
    assert metadata["litres"].value == 2
    assert metadata["share"].value == 0.5
    assert metadata["console"].value == "https://example.org"
    assert metadata["evidence"].value == as_table([{"pot": "a|b", "full": True}]).value
    assert list(metadata)[:4] == ["summary", "console", "litres", "share"], "how it stands comes first"
    assert metadata["attempt"].value == 1
    assert float(str(metadata["seconds"].value)) >= 0
    assert find_facts(instance, "test/colour", Colour) == Colour(name="blue")


def test_equal_facts_have_an_equal_data_version(blueprint: Blueprint, instance: dg.DagsterInstance) -> None:
    versions = set()
    for name in ("blue", "blue", "red"):
        body = lambda step, name=name: Outcome("painted", Colour(name=name))  # noqa: E731
        result = dg.materialize([asset(blueprint, body)], instance=instance)
        tags = result.asset_materializations_for_node("test__colour")[0].tags or {}
        versions.add(tags["dagster/data_version"])
    assert len(versions) == 2


def test_nothing_to_do_is_said(blueprint: Blueprint, instance: dg.DagsterInstance) -> None:
    result = dg.materialize([asset(blueprint, lambda step: Outcome("there", Colour(name="x")))], instance=instance)
    assert result.asset_materializations_for_node("test__colour")[0].metadata["plan"].value == "nothing to do"


def test_facts_of_an_upstream_or_the_command_that_makes_them(
    blueprint: Blueprint, instance: dg.DagsterInstance
) -> None:
    with pytest.raises(errors.PreconditionMissing) as missing:
        read_facts(instance, "test/colour", Colour)
    assert missing.value.fix == "ocifree up --select 'test/colour'"
    dg.materialize([asset(blueprint, paint)], instance=instance)

    class Taste(Facts):
        sweet: bool

    with pytest.raises(errors.PreconditionMissing, match="recorded by another version"):
        read_facts(instance, "test/colour", Taste)


def failing(blueprint: Blueprint, instance: dg.DagsterInstance, error: Exception) -> dg.ExecuteInProcessResult:
    def body(step: Step) -> Outcome:
        raise error

    return dg.materialize([asset(blueprint, body)], instance=instance, raise_on_error=False)


@pytest.mark.parametrize(
    ("kind", "reaction"),
    [
        (errors.OutOfCapacity, Reaction.WAIT),
        (errors.LimitReached, Reaction.STOP),
        (errors.QuotaRefused, Reaction.STOP),
        (errors.AuthFailed, Reaction.STOP),
        (errors.Forbidden, Reaction.STOP),
        (errors.Conflict, Reaction.STOP),
        (errors.NotVerified, Reaction.STOP),
        (errors.PreconditionMissing, Reaction.STOP),
        (errors.NotFree, Reaction.STOP),
        (errors.NeedsConfirmation, Reaction.ASK),
        (errors.Transient, Reaction.RETRY),
        (errors.Throttled, Reaction.RETRY),
    ],
)
def test_the_class_of_an_error_decides(
    blueprint: Blueprint, instance: dg.DagsterInstance, kind: type[OcifreeError], reaction: Reaction
) -> None:
    error = kind("it broke", why="because", fix="mend it")
    assert reaction_to(error) is reaction
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301
    if reaction is Reaction.RETRY:
        return
    result = failing(blueprint, instance, error)
    failure = result.failure_data_for_node("test__colour")
    assert failure is not None
    assert failure.user_failure_data is not None
    told = {name: value.value for name, value in failure.user_failure_data.metadata.items()}
    assert told == {
        "error": kind.__name__,
        "what": "it broke",
        "why": "because",
        "fix": "mend it",
        "reaction": reaction.value,
        "again": "ocifree up --select 'test/colour+'",
    }
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["dagster/retry_on_asset_or_op_failure"] == "false"


def test_a_passing_fault_is_tried_again(
    blueprint: Blueprint, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocifree_pipeline.record.definition.RETRY_SECONDS", 0)
    tries = []

    def body(step: Step) -> Outcome:
        tries.append(1)
        if len(tries) < 3:
            raise errors.Throttled("busy", why="too many calls", fix="wait")
        return Outcome("made", Colour(name="late"))

    result = dg.materialize([asset(blueprint, body)], instance=instance)
    assert result.success
    assert len(tries) == 3
    assert result.asset_materializations_for_node("test__colour")[0].metadata["attempt"].value == 3


def test_an_unknown_exception_is_a_bug_and_stops() -> None:
    assert reaction_to(ZeroDivisionError()) is Reaction.STOP


def test_without_a_home_nothing_starts(blueprint: Blueprint) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([asset(blueprint, paint)], instance=instance, raise_on_error=False)
    failure = result.failure_data_for_node("test__colour")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert failure.user_failure_data.metadata["what"].value == "DAGSTER_HOME is not set"


@pytest.mark.parametrize(
    ("verdict", "passed", "severity"),
    [
        (Verdict(True, "fine", numbers={"n": 1}), True, dg.AssetCheckSeverity.ERROR),
        (Verdict(False, "moved", warn=True, evidence=({"a": 1},)), False, dg.AssetCheckSeverity.WARN),
        (Verdict(False, "broken"), False, dg.AssetCheckSeverity.ERROR),
    ],
)
def test_checks_record_their_verdict(
    blueprint: Blueprint, instance: dg.DagsterInstance, verdict: Verdict, passed: bool, severity: dg.AssetCheckSeverity
) -> None:
    check = define_check(blueprint, "test/colour", "bright", lambda step: verdict, describe="It is bright.")
    result = dg.materialize([asset(blueprint, paint), check], instance=instance, raise_on_error=False)
    evaluation = result.get_asset_check_evaluations()[0]
    assert (evaluation.passed, evaluation.severity, evaluation.description) == (passed, severity, verdict.summary)


def test_a_table_has_a_type_for_each_column_and_a_cell_for_each_row() -> None:
    table = as_table([{"a": 1, "b": None, "c": 0.5}, {"a": Reaction.RETRY, "b": True, "c": 1.5}])
    assert [(one.name, one.type) for one in table.schema.columns] == [("a", "string"), ("b", "string"), ("c", "float")]
    assert [dict(one.data) for one in table.records] == [
        {"a": 1, "b": "", "c": 0.5},
        {"a": "retry", "b": True, "c": 1.5},
    ]
    assert {type(one.data["a"]) for one in table.records} == {int, str}, "Dagster stores no enums"
