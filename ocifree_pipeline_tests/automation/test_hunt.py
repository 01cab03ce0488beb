"""The hunting sensors: real ticks on a real instance, with Oracle's answers given, and once with a sandbox behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pytest
import yaml

from ocifree_pipeline.automation import hunt
from ocifree_pipeline.automation.hunt import Prey, tick
from ocifree_pipeline.automation.orphans import UNFINISHED, in_flight
from ocifree_pipeline.definitions import definitions_for
from ocifree_pipeline.deployment.blueprint import Blueprint, blueprint_of
from ocifree_pipeline.deployment.capacity import Answer, Attempt, Capacity, Ending, Observation, Place, Trouble
from ocifree_pipeline.deployment.errors import Transient
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.hunt import DAY, MINUTE, Decision
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.deployment.plan import Machine
from ocifree_pipeline.record.facts import find_facts
from ocifree_pipeline.record.machines import (
    CAPACITY,
    CapacityFacts,
    guide_of,
    let_hunt_go_on,
    note_attempt,
)

ADS = tuple(f"x:UK-LONDON-1-AD-{number}" for number in (1, 2, 3))
NOW = 1_800_000_000.0


@dataclass
class Oracle:
    """Answers what the test says, and counts."""

    capacity: Capacity = Capacity.UNAVAILABLE
    trouble: Trouble | None = None
    limits_are_zero: bool | None = None
    error: Exception | None = None
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def __call__(self, blueprint: Blueprint, machines: Sequence[Machine], decision: Decision) -> Observation:
        self.asked.append(decision.ads)
        if self.error:
            raise self.error
        words = self.trouble.value if self.trouble else self.capacity.value
        return Observation(
            tuple(Answer(ad, self.capacity, words, self.trouble) for ad in decision.ads), self.limits_are_zero
        )


@dataclass
class Hunter:
    """One sensor with its cursor, and the time."""

    blueprint: Blueprint
    instance: dg.DagsterInstance
    definitions: dg.Definitions
    prey: Prey
    oracle: Oracle = field(default_factory=Oracle)
    cursor: str | None = None
    now: float = NOW
    keep: bool = True

    def tick(self, after: float = 0.0) -> dg.SensorResult:
        self.now += after
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, definitions=self.definitions, sensor_name="capacity_hunt_a1"
        )
        result = tick(self.blueprint, self.prey, context, now=self.now, ask=self.oracle)
        if self.keep:
            self.cursor = result.cursor
        return result

    def says(self, after: float = 0.0) -> str:
        result = self.tick(after)
        assert not result.run_requests
        assert result.skip_reason is not None
        return str(result.skip_reason.skip_message)

    def requests(self, after: float = 0.0) -> dg.RunRequest:
        (request,) = self.tick(after).run_requests or []
        return request

    def make(self, key: str, **facts: Any) -> None:
        self.instance.report_runless_asset_event(
            dg.AssetMaterialization(asset_key=key.split("/"), metadata={"facts": dg.MetadataValue.json(facts)})
        )

    def arm(self) -> None:
        plan = self.blueprint.plan
        self.make(
            "tenancy/limits", tenancy="t", home_region="uk-london-1", availability_domains=ADS,
            limits={"regional": {}, "per_ad": {}}, used_by_others={"regional": {}, "per_ad": {}},
        )  # fmt: skip
        machines = [
            {
                "name": m.name, "shape": m.shape, "ocpus": m.ocpus, "memory_gb": m.memory_gb,
                "boot_volume_gb": m.boot_volume_gb, "availability_domain": ADS[1],
            }
            for m in plan.machines
        ]  # fmt: skip
        self.make("tenancy/plan", topology=plan.topology, machines=machines, reserved_ips=[])
        for machine in self.prey.machines:
            for key in hunt.upstreams(self.blueprint, machine):
                if key.startswith(("oci/", "talos/", "images/")):
                    self.make(key)

    def attempt(self, ending: Ending, machine: str = "ampere_1", request: int = 1, said: str = "available") -> None:
        note_attempt(
            self.instance, Attempt(machine, Place(ADS[1]), Capacity(said), ending, ending.value, request=request)
        )


@pytest.fixture(scope="module")
def blueprint() -> Blueprint:
    data = yaml.safe_load(example("proxmox-ceph"))
    return blueprint_of(parse(yaml.safe_dump(data)))


@pytest.fixture(scope="module")
def definitions(blueprint: Blueprint) -> dg.Definitions:
    return definitions_for(blueprint)


@pytest.fixture
def hunter(blueprint: Blueprint, definitions: dg.Definitions) -> Iterator[Hunter]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Hunter(blueprint, instance, definitions, Prey("a1", blueprint.plan.ampere, CAPACITY))


@pytest.fixture
def armed(hunter: Hunter) -> Hunter:
    hunter.arm()
    return hunter


def keys_of(request: dg.RunRequest) -> set[str]:
    return {key.to_user_string() for key in request.asset_selection or []}


def test_unarmed_it_asks_nobody_and_says_what_to_make(hunter: Hunter) -> None:
    said = hunter.says()
    assert said.startswith("not armed")
    assert "oci/network" in said
    assert "ocifree up --select" in said
    assert hunter.oracle.asked == []


def test_a_quiet_tick_speaks_with_numbers_and_leaves_a_heartbeat(armed: Hunter) -> None:
    said = armed.says()
    assert "asked 1 time and tried 0 launches in 0 min" in said
    assert "396 of 400 calls left today" in said
    assert "AD-1 unavailable" in said
    event = armed.instance.get_latest_materialization_event(dg.AssetKey(["tenancy", "a1_capacity"]))
    assert event is not None
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    assert metadata["calls left today"].value == 396
    assert metadata["available UK-LONDON-1-AD-2"].value == 0
    assert metadata["times asked"].value == 1
    assert (event.asset_materialization.tags or {})["dagster/data_version"]
    assert "asking again in" in armed.says(5 * MINUTE)
    assert len(armed.oracle.asked) == 1, "and nobody was asked in between"


def test_room_requests_the_missing_machines_and_what_hangs_on_them_once(armed: Hunter) -> None:
    armed.make("machines/ampere_1", ocid="x")
    armed.oracle.capacity = Capacity.AVAILABLE
    request = armed.requests()
    keys = keys_of(request)
    assert {"machines/ampere_2", "machines/ampere_3", "proxmox/cluster", "talos/cluster"} <= keys
    assert "machines/ampere_1" not in keys
    assert "machines/bastion" not in keys
    above = [key for key in keys if key.startswith(("tenancy/", "oci/", "images/"))]
    assert above == ["tenancy/storage_quota"], "nothing above them; this one settles the quota once they are had"
    assert request.tags["ocifree/hunt"] == "a1"
    guide = guide_of(armed.instance, "ampere_2", _moment(armed.now))
    assert guide is not None
    assert guide.places[0].ad == ADS[1], "the plan's own domain first"
    assert guide_of(armed.instance, "ampere_1", _moment(armed.now)) is None
    assert guide_of(armed.instance, "ampere_2", _moment(armed.now + 3600)) is None, "old news guides nobody"
    again = armed.requests(2 * 3600)
    assert again.run_key != request.run_key, "Dagster never repeats a key"


def _moment(seconds: float) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC)


@pytest.mark.parametrize("status", UNFINISHED)
def test_never_while_a_run_for_them_is_unfinished(armed: Hunter, status: dg.DagsterRunStatus) -> None:
    armed.oracle.capacity = Capacity.AVAILABLE
    selection = frozenset({dg.AssetKey(["machines", "ampere_2"])})
    _run(armed, status, asset_selection=selection)
    assert "for these machines" in armed.says()
    assert armed.oracle.asked == []


def test_other_runs_are_in_nobodys_way(armed: Hunter) -> None:
    _run(armed, dg.DagsterRunStatus.SUCCESS, asset_selection=frozenset({dg.AssetKey(["machines", "ampere_1"])}))
    _run(armed, dg.DagsterRunStatus.STARTED, asset_selection=frozenset({dg.AssetKey(["images", "talos_nocloud"])}))
    _run(armed, dg.DagsterRunStatus.STARTED, job_name="verify")
    assert in_flight(armed.instance, armed.prey.keys) is None
    _run(armed, dg.DagsterRunStatus.QUEUED, job_name="deploy")
    assert in_flight(armed.instance, armed.prey.keys) is not None


def _run(hunter: Hunter, status: dg.DagsterRunStatus, **more: Any) -> None:
    from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
    from dagster._core.utils import make_new_run_id

    more.setdefault("job_name", "__ASSET_JOB")
    where = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("ocifree"), "__repository__")
    more["remote_job_origin"] = RemoteJobOrigin(where, more["job_name"])
    hunter.instance.add_run(dg.DagsterRun(run_id=make_new_run_id(), status=status, **more))


def test_what_became_of_launches_is_taken_in(armed: Hunter) -> None:
    armed.oracle.capacity = Capacity.AVAILABLE
    armed.requests()
    armed.attempt(Ending.NO_CAPACITY)
    assert "tried 1 launch" in armed.says(MINUTE)
    armed.attempt(Ending.LIMIT)
    assert "a service limit was used up" in armed.says(MINUTE)
    armed.attempt(Ending.UNAUTHORIZED)
    assert "has stopped: Oracle does not know us" in armed.says(MINUTE)
    assert "has stopped" in armed.says(90 * DAY)
    let_hunt_go_on(armed.instance, CAPACITY)
    assert armed.requests(MINUTE), "a person has let it go on"


def test_a_claimed_machine_is_not_hunted_for(armed: Hunter) -> None:
    for name in ("ampere_1", "ampere_2", "ampere_3"):
        armed.attempt(Ending.HAD, name)
    said = armed.says()
    assert "ocifree up --select" in said
    assert "had and not heard of yet" in said
    assert armed.oracle.asked == []


@pytest.mark.parametrize(
    ("oracle", "words"),
    [
        (Oracle(Capacity.UNKNOWN, Trouble.UNAUTHORIZED), "401"),
        (Oracle(Capacity.UNKNOWN, Trouble.NOT_FOUND), "404 for every"),
        (Oracle(limits_are_zero=True), "are all 0"),
    ],
)
def test_signs_of_a_ban_stop_it(armed: Hunter, oracle: Oracle, words: str) -> None:
    armed.oracle = oracle
    assert words in armed.says()
    assert words in armed.says(30 * DAY)
    assert len(oracle.asked) == 1


@pytest.mark.parametrize("error", [Transient("no answer", why="w", fix="f"), ZeroDivisionError("a bug")])
def test_a_fault_while_asking_keeps_the_pace(armed: Hunter, error: Exception) -> None:
    armed.oracle.error = error
    assert "unknown" in armed.says()
    armed.says(MINUTE)
    assert len(armed.oracle.asked) == 1


def test_a_tick_that_died_after_asking_is_remembered_by_the_record(armed: Hunter) -> None:
    armed.says()
    armed.keep = False
    armed.tick(30 * MINUTE)
    armed.tick(MINUTE)
    armed.tick(MINUTE)
    assert len(armed.oracle.asked) == 2


def test_a_cursor_that_was_reset_does_not_reset_the_budget(armed: Hunter) -> None:
    armed.says()
    armed.says(40 * MINUTE)
    for lost in (None, "{broken", '{"from": "another version"}'):
        armed.cursor = lost
        said = armed.says(MINUTE)
        assert "asked 2 times" in said
        assert "393 of 400 calls left" in said
    assert len(armed.oracle.asked) == 2


def test_precision_is_measured_from_the_record(armed: Hunter) -> None:
    armed.attempt(Ending.HAD)
    armed.attempt(Ending.NO_CAPACITY)
    armed.attempt(Ending.NO_CAPACITY, said="unavailable")
    armed.oracle.capacity = Capacity.AVAILABLE
    armed.tick()
    event = armed.instance.get_latest_materialization_event(dg.AssetKey(["tenancy", "a1_capacity"]))
    assert event is not None
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    assert metadata["report precision"].value == 0.5
    assert metadata["report recall"].value == 1.0
    facts = find_facts(armed.instance, CAPACITY, CapacityFacts)
    assert facts is not None
    assert facts.seen == dict.fromkeys(ADS, Capacity.AVAILABLE)


def test_the_micro_is_hunted_in_its_own_domain_and_brings_along_who_waits_for_it(hunter: Hunter) -> None:
    bastion = hunter.blueprint.plan.bastion
    assert bastion is not None
    hunter.arm()
    hunter.prey = Prey("micro", (bastion,), "machines/bastion")
    hunter.arm()
    hunter.oracle.capacity = Capacity.AVAILABLE
    hunter.attempt(Ending.HAD, "ampere_2")
    request = hunter.requests()
    assert hunter.oracle.asked == [(ADS[1],)]
    keys = keys_of(request)
    assert {"machines/bastion", "machines/ampere_2"} <= keys
    assert not keys & {"machines/ampere_1", "machines/ampere_3", "proxmox/cluster"}
    hunter.cursor = None
    assert "asked 1 time" in hunter.says(MINUTE), "its record is on the bastion"


def test_a_young_hunt_is_eager_and_an_old_one_is_not(armed: Hunter) -> None:
    def rounds_in_six_hours() -> int:
        end, before = armed.now + DAY / 4, len(armed.oracle.asked)
        while armed.now < end:
            armed.tick(6 * MINUTE)
        return len(armed.oracle.asked) - before

    young = rounds_in_six_hours()
    armed.now += 28 * DAY
    old = rounds_in_six_hours()
    assert 18 <= young <= 24
    assert 5 <= old <= 9
