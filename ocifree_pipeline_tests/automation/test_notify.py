"""The sensors that tell people: real runs that fail, real states of the record, and what is said of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import dagster as dg
import pytest
import yaml

from ocifree_pipeline.automation.notify import NOBODY, failures_tick, news_tick
from ocifree_pipeline.definitions import definitions_for
from ocifree_pipeline.deployment.blueprint import Blueprint, blueprint_of
from ocifree_pipeline.deployment.capacity import Attempt, Capacity, Ending, Place
from ocifree_pipeline.deployment.errors import OutOfCapacity, Refused, Transient
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.hunt import DAY, HuntState
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.deployment.notices import Event
from ocifree_pipeline.deployment.watching import Turn
from ocifree_pipeline.record.assurance import CostFacts, IdleFacts
from ocifree_pipeline.record.definition import as_failure
from ocifree_pipeline.record.machines import CAPACITY, CapacityFacts, note_attempt
from ocifree_pipeline.record.outcome import Facts
from ocifree_pipeline.record.watched import note_turn
from ocifree_pipeline.systems.notify.rendering import Message
from ocifree_pipeline.systems.notify.sending import Told

NOON = 1_800_014_400.0
"""2027-01-15 12:00 UTC."""


def blueprint_with(notify: list[str], account: str = "free") -> Blueprint:
    data = yaml.safe_load(example("talos-native"))
    data["site"]["account"] = account
    return blueprint_of(parse(yaml.safe_dump({**data, "notify": notify})))


@pytest.fixture(scope="module")
def blueprint() -> Blueprint:
    return blueprint_with(["env:CHAT", "env:MAIL"])


@pytest.fixture(scope="module")
def definitions(blueprint: Blueprint) -> dg.Definitions:
    return definitions_for(blueprint)


@dataclass
class Desk:
    """Both sensors with their cursors, the time, and somebody who takes the messages."""

    blueprint: Blueprint
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    now: float = NOON
    deaf: set[str] = field(default_factory=set)
    heard: list[tuple[str, Message]] = field(default_factory=list)
    cursors: dict[str, str | None] = field(default_factory=dict)

    def send(self, names: Iterable[str], message: Message, event: Event) -> tuple[Told, ...]:
        error = Refused("could not be told", why="down", fix="later")
        told = tuple(Told(name, error=error if name in self.deaf else None) for name in names)
        self.heard += [(one.target, message) for one in told if one.error is None]
        return told

    def tick(self, which: Any, after: float = 60.0) -> str:
        self.now += after
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursors.get(which.__name__), definitions=self.definitions
        )
        result = which(self.blueprint, context, now=self.now, send=self.send)
        self.cursors[which.__name__] = result.cursor
        return str(result.skip_reason.skip_message)

    def failures(self, after: float = 60.0) -> list[Message]:
        return self._said(failures_tick, after)

    def news(self, after: float = 60.0) -> list[Message]:
        return self._said(news_tick, after)

    def _said(self, which: Any, after: float) -> list[Message]:
        before = len(self.heard)
        self.tick(which, after)
        return [message for name, message in self.heard[before:] if name == "env:CHAT"]

    def made(self, key: str, facts: Facts, **metadata: Any) -> None:
        self.instance.report_runless_asset_event(
            dg.AssetMaterialization(
                asset_key=key.split("/"),
                metadata={"facts": dg.MetadataValue.json(facts.model_dump(mode="json")), **metadata},
            )
        )

    def run_that_fails(self, error: Exception, key: str = "oci/network", **tags: str) -> dg.ExecuteInProcessResult:
        @dg.asset(key=key.split("/"))
        def broken() -> None:
            raise error

        job = dg.Definitions(assets=[broken]).resolve_implicit_global_asset_job_def()
        return job.execute_in_process(instance=self.instance, raise_on_error=False, tags=tags)


@pytest.fixture
def desk(blueprint: Blueprint, definitions: dg.Definitions) -> Iterator[Desk]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Desk(blueprint, definitions, instance)


# failures -------------------------------------------------------------------------------------------------------------

REFUSED = Refused("Oracle said no", why="no rights", fix="ocifree doctor")


def test_a_failure_names_asset_cause_whether_to_retry_and_the_command(desk: Desk) -> None:
    assert desk.failures() == [], "what failed before anybody wanted to be told"
    desk.run_that_fails(as_failure(REFUSED, "ocifree up --select 'oci/network+'"))
    (message,) = desk.failures()
    assert message.title.endswith(": oci/network failed")
    lines = message.body.splitlines()
    assert lines[:5] == [
        "Oracle said no",
        "why: no rights",
        "fix: ocifree doctor",
        "Trying again alone does not help: the cause has to go first.",
        "again: ocifree up --select 'oci/network+'",
    ]
    assert {name for name, _ in desk.heard} == {"env:CHAT", "env:MAIL"}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (as_failure(Transient("slow", why="net", fix="later"), "x"), "Trying again may help"),
        (as_failure(REFUSED, "x"), "does not help"),
        (ZeroDivisionError("a fault of ours"), "is not known"),
    ],
)
def test_whether_a_retry_helps_follows_from_the_kind_of_error(desk: Desk, error: Exception, words: str) -> None:
    desk.failures()
    desk.run_that_fails(error)
    (message,) = desk.failures()
    assert words in message.body


def test_the_same_failure_is_told_once_and_another_one_is(desk: Desk) -> None:
    desk.failures()
    for _ in range(4):
        desk.run_that_fails(as_failure(REFUSED, "x"))
    assert len(desk.failures()) == 1
    desk.run_that_fails(as_failure(REFUSED, "x"))
    assert desk.failures() == []
    desk.run_that_fails(as_failure(REFUSED, "x"), key="talos/cluster")
    assert len(desk.failures()) == 1


def test_waiting_for_capacity_is_no_failure(desk: Desk) -> None:
    desk.failures()
    desk.run_that_fails(as_failure(OutOfCapacity("no room", why="full", fix="wait"), "x"), key="machines/ampere_1")
    assert desk.failures() == []


def test_a_run_that_was_killed_is_told_with_its_last_word(desk: Desk) -> None:
    desk.failures()
    job = desk.definitions.resolve_implicit_global_asset_job_def()
    run = desk.instance.create_run_for_job(job, tags={"ocifree/hunt": "a1"})
    desk.instance.report_run_failed(run, "Released by ocifree: its process 7 does not exist any more.")
    (message,) = desk.failures()
    assert message.title.endswith(f"run {run.run_id[:8]} failed")
    assert "its process 7 does not exist any more" in message.body
    assert "asked for by the hunt" in message.body


def test_who_does_not_answer_hears_it_later_and_nobody_twice(desk: Desk) -> None:
    desk.failures()
    desk.deaf = {"env:MAIL"}
    desk.run_that_fails(as_failure(REFUSED, "x"))
    assert "told 1 of 2; could not be told: down; 1 wait" in desk.tick(failures_tick)
    desk.deaf = set()
    assert desk.tick(failures_tick, 30) == "1 wait"
    desk.tick(failures_tick, 60)
    assert [name for name, _ in desk.heard] == ["env:CHAT", "env:MAIL"]
    assert desk.tick(failures_tick) == "no news"


def test_without_anybody_to_tell_nothing_is_remembered(desk: Desk) -> None:
    desk.blueprint = blueprint_with([])
    assert desk.tick(failures_tick) == NOBODY
    assert desk.tick(news_tick) == NOBODY
    assert desk.cursors == {"failures_tick": None, "news_tick": None}


# news -----------------------------------------------------------------------------------------------------------------


def test_a_charge_names_its_resources_and_is_told_daily_while_it_lasts(desk: Desk) -> None:
    facts = CostFacts(since=date(2027, 1, 1), currency="USD", charged=("lab-ampere-1",), unknown=())
    desk.made("assurance/cost_report", facts, cost=0.25)
    (message,) = desk.news()
    assert message.title.endswith("Oracle charged 0.25 USD since 2027-01-01")
    assert "- lab-ampere-1" in message.body
    assert desk.news() == []
    assert len(desk.news(DAY)) == 1
    desk.made("assurance/cost_report", facts.model_copy(update={"charged": ()}), cost=0.0)
    assert desk.news(DAY) == []


def limits(*changed: str) -> Facts:
    from ocifree_pipeline.record.tenancy import CountsFacts, LimitsFacts

    none = CountsFacts(regional={}, per_ad={})
    return LimitsFacts(
        tenancy="t", home_region="r", availability_domains=(), limits=none, used_by_others=none, changed=changed
    )


def test_changed_limits_are_told_when_they_change(desk: Desk) -> None:
    desk.made("tenancy/limits", limits("A1 OCPUs: 4 -> 2"))
    assert desk.news() == [], "that was before anybody wanted to be told"
    desk.made("tenancy/limits", limits("A1 OCPUs: 2 -> 1"))
    (message,) = desk.news()
    assert "- A1 OCPUs: 2 -> 1" in message.body
    assert desk.news(30 * DAY) == []


def test_idle_machines_of_a_free_account(desk: Desk) -> None:
    desk.made("assurance/idle_report", IdleFacts(machines=("bastion",), at_risk=("bastion",)), summary="in 2 days")
    (message,) = desk.news()
    assert message.title.endswith("Oracle may stop bastion as idle")
    desk.cursors.clear()
    desk.blueprint = blueprint_with(["env:CHAT"], account="payg")
    assert desk.news() == []


def hunting(desk: Desk, *, request: int = 0, stopped: str = "") -> None:
    state = HuntState(started_at=desk.now - 3 * DAY, stopped=stopped)
    facts = CapacityFacts(
        seen={}, asked_at=desk.now, request=request, machines=("ampere_1",), places=(("AD-2", None),), tries=1
    )
    desk.made(CAPACITY, facts, hunt=dg.MetadataValue.json(state.model_dump(mode="json")), summary="asked 12 times")


def test_capacity_is_told_when_found_and_the_hunt_once_a_day(desk: Desk) -> None:
    hunting(desk)
    (digest,) = desk.news()
    assert digest.title.endswith("the hunt after 3.0 days")
    assert digest.body.splitlines()[:2] == ["still missing: ampere_1", "asked 12 times"]
    assert desk.news() == []
    hunting(desk, request=1)
    (found,) = desk.news()
    assert (found.title.endswith("capacity for ampere_1"), found.body.splitlines()[0]) == (True, "AD-2")
    assert [one.title for one in desk.news(DAY)] == [digest.title.replace("3.0", "4.0")]


def test_at_night_nobody_gets_a_digest(desk: Desk) -> None:
    desk.now += 14 * 3600
    hunting(desk)
    assert desk.news() == []
    assert len(desk.news(6 * 3600)) == 1


def test_a_hunt_that_stopped_asks_for_a_person(desk: Desk) -> None:
    hunting(desk, stopped="Oracle does not know us any more (401)")
    (message,) = desk.news()
    assert "Oracle does not know us any more (401)" in message.body
    assert "ocifree capacity --resume" in message.body


def test_a_claim_is_told_once(desk: Desk) -> None:
    import time

    desk.now = time.time()
    note_attempt(desk.instance, Attempt("ampere_1", Place("AD-2"), Capacity.AVAILABLE, Ending.HAD, "had", request=1))
    (message,) = desk.news()
    assert message.title.endswith("ampere_1 is ours")
    assert desk.news() == []


@pytest.mark.parametrize(
    ("turn", "hint"), [(Turn.LOST, "hunt"), (Turn.STOPPED, "--action START"), (Turn.SILENT, "ocifree console ampere_1")]
)
def test_a_machine_in_trouble(desk: Desk, turn: Turn, hint: str) -> None:
    desk.instance.report_runless_asset_event(dg.AssetMaterialization(asset_key=["machines", "ampere_1"]))
    note_turn(desk.instance, "ampere_1", turn, "something was seen")
    (message,) = desk.news()
    assert message.title.endswith(f"ampere_1 is {turn.value}")
    assert "kubernetes" in message.body
    assert hint in message.body
    note_turn(desk.instance, "ampere_1", Turn.BACK, "answers")
    assert desk.news() == []
    note_turn(desk.instance, "ampere_1", turn, "again")
    assert len(desk.news()) == 1, "it came back, and went again"


def judged(desk: Desk, asset: str, name: str, severity: dg.AssetCheckSeverity, passed: bool = False) -> None:
    evaluation = dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(asset.split("/")),
        check_name=name,
        passed=passed,
        severity=severity,
        description="a rule is gone",
    )
    desk.instance.report_runless_asset_event(evaluation)


@pytest.mark.parametrize(
    ("asset", "name", "severity", "title"),
    [
        ("oci/network", "drift", dg.AssetCheckSeverity.ERROR, "oci/network is not as it was made"),
        ("oci/network", "drift", dg.AssetCheckSeverity.WARN, "oci/network is not as it was made"),
        ("talos/kubeconfig", "certificate_valid", dg.AssetCheckSeverity.WARN, "a certificate ends: talos/kubeconfig"),
        ("talos/cluster", "etcd_quorum", dg.AssetCheckSeverity.ERROR, "talos/cluster: etcd_quorum fails"),
        ("talos/cluster", "etcd_quorum", dg.AssetCheckSeverity.WARN, None),
        ("assurance/cost_report", "bill_is_zero", dg.AssetCheckSeverity.ERROR, None),
    ],
)
def test_checks(desk: Desk, asset: str, name: str, severity: dg.AssetCheckSeverity, title: str | None) -> None:
    judged(desk, asset, name, severity)
    titles = [message.title for message in desk.news()]
    assert titles == ([f"{desk.blueprint.declaration.name}: {title}"] if title else [])
    judged(desk, asset, name, severity, passed=True)
    assert desk.news() == []
