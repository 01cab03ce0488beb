"""The watch over claimed machines, against a tenancy in which they end, stop, fall silent and come back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ocifree_pipeline.automation import hunt
from ocifree_pipeline.automation.hunt import Prey
from ocifree_pipeline.automation.instance_watch import look_at_oracle, tick
from ocifree_pipeline.deployment.capacity import Capacity
from ocifree_pipeline.record.facts import find_facts
from ocifree_pipeline.record.machines import CAPACITY, InstanceFacts, first_ocid
from ocifree_pipeline.record.watched import is_lost, last_turn
from ocifree_pipeline.sandbox import snapshot
from ocifree_pipeline.sandbox.machines import hand
from ocifree_pipeline_tests.assets.conftest import Deployment, Ground, _proxmox_ground, proxmox
from ocifree_pipeline_tests.assets.native import Standing
from ocifree_pipeline_tests.automation.test_hunt import Oracle

__all__ = ["_proxmox_ground", "proxmox"]

BASTION, AMPERE = "machines/bastion", "machines/ampere_1"


@dataclass
class Watch:
    deployment: Deployment
    cursor: str | None = None

    def tick(self) -> dg.SensorResult:
        context = dg.build_sensor_context(
            instance=self.deployment.instance,
            cursor=self.cursor,
            definitions=self.deployment.definitions,
            sensor_name="instance_watch",
        )
        result = tick(self.deployment.blueprint, context, see=look_at_oracle)
        self.cursor = result.cursor
        return result

    def says(self, times: int = 1) -> str:
        for _ in range(times):
            result = self.tick()
            assert not result.run_requests
        return str(result.skip_reason and result.skip_reason.skip_message)

    def turn(self, machine: str = "ampere_1") -> tuple[str, str] | None:
        found = last_turn(self.deployment.instance, machine)
        return (found[0].value, found[1]) if found else None


@pytest.fixture(scope="module")
def _two_machines(_proxmox_ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Standing:
    folder = tmp_path_factory.mktemp("watched")
    with pytest.MonkeyPatch.context() as patch, _proxmox_ground.again(folder / "home", patch) as first:
        first.materialize(BASTION, AMPERE)
        facts = {**_proxmox_ground.facts, BASTION: first.facts(BASTION), AMPERE: first.facts(AMPERE)}
        saved = first.sandbox.inside(lambda world: snapshot.save(world, folder / "standing.tar"))
    return Standing(replace(_proxmox_ground, snapshot=saved, facts=facts), folder / "home")


@pytest.fixture
def watch(_two_machines: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    with _two_machines.again(tmp_path / "home", monkeypatch) as found:
        yield Watch(found)


def power(deployment: Deployment, machine: str, state: str) -> None:
    name = f"lab-{machine.replace('_', '-')}"
    deployment.sandbox.inside(lambda world: hand.set_power(hand.named(world, name), state))
    deployment.sandbox.advance(300)


def test_a_machine_that_ended_is_hunted_for_with_what_hangs_on_it_and_its_disk_stays(watch: Watch) -> None:
    import oci

    deployment = watch.deployment
    assert watch.says() == "ampere_1: answers; bastion: answers"
    calls = deployment.mutations()
    old = deployment.facts(AMPERE)
    deployment.client(oci.core.ComputeClient).terminate_instance(old["ocid"], preserve_boot_volume=True)
    deployment.sandbox.advance(600)
    assert "ampere_1: Oracle" in watch.says()
    assert not is_lost(deployment.instance, "ampere_1"), "one look proves nothing"
    (room,) = watch.tick().run_requests
    assert [key.to_user_string() for key in room.asset_selection] == ["tenancy/guardrails"], "it may come elsewhere"
    assert is_lost(deployment.instance, "ampere_1")
    state, words = watch.turn() or ("", "")
    assert state == "lost"
    assert "its disk, if one is left, is not touched" in words
    assert watch.says() == "bastion: answers", "what is lost is the matter of the hunt"

    prey = Prey("a1", deployment.blueprint.plan.ampere, CAPACITY)
    for machine in prey.machines:
        for key in hunt.upstreams(deployment.blueprint, machine):
            if key.startswith("images/") and key not in deployment.blueprint.custom_images:
                deployment.pretend(key)
    context = dg.build_sensor_context(
        instance=deployment.instance, definitions=deployment.definitions, sensor_name="capacity_hunt_a1"
    )
    asked = hunt.tick(deployment.blueprint, prey, context, now=time.time(), ask=Oracle(Capacity.AVAILABLE))
    (request,) = asked.run_requests or []
    wanted = {key.to_user_string() for key in request.asset_selection or ()}
    assert {AMPERE, "proxmox/cluster", "talos/cluster", "platform/cilium"} <= wanted

    assert deployment.mutations() == calls + 1, "nothing but our own termination"
    deployment.materialize(AMPERE)
    assert deployment.facts(AMPERE)["ocid"] != old["ocid"]
    assert not is_lost(deployment.instance, "ampere_1")
    assert first_ocid(deployment.instance, "ampere_1") == deployment.facts(AMPERE)["ocid"]
    assert "left as it is: the disk of the machine that is gone" in deployment.metadata(AMPERE)["plan"]


def test_a_silent_machine_is_told_of_and_looked_after_when_it_is_back(watch: Watch) -> None:
    deployment = watch.deployment
    power(deployment, "ampere_1", "off")
    calls = deployment.mutations()
    watch.says(2)
    assert watch.turn() is None
    assert "ampere_1: Oracle says RUNNING" in watch.says()
    assert watch.turn() is not None
    assert watch.turn()[0] == "silent"  # type: ignore[index]
    power(deployment, "ampere_1", "on")
    (request,) = watch.tick().run_requests or []
    assert {key.to_user_string() for key in request.asset_selection or ()} == {AMPERE}, "nothing else was ever made"
    assert request.tags["ocifree/why"] == "ampere_1 came back"
    assert deployment.mutations() == calls
    assert watch.says() == "ampere_1: answers; bastion: answers"


def test_a_stopped_machine_is_never_started(watch: Watch) -> None:
    import oci

    deployment = watch.deployment
    deployment.client(oci.core.ComputeClient).instance_action(deployment.facts(AMPERE)["ocid"], "STOP")
    deployment.sandbox.advance(600)
    calls = deployment.mutations()
    assert "if nobody stopped it, Oracle took it back as idle" in watch.says(2)
    assert (watch.turn() or ("", ""))[0] == "stopped"
    assert deployment.mutations() == calls
    assert find_facts(deployment.instance, AMPERE, InstanceFacts) is not None
    assert not is_lost(deployment.instance, "ampere_1")


def test_behind_a_silent_bastion_nobody_is_judged(watch: Watch) -> None:
    power(watch.deployment, "bastion", "off")
    assert "ampere_1: cannot be seen: bastion is the way to it" in watch.says(4)
    assert watch.turn("ampere_1") is None
    assert (watch.turn("bastion") or ("", ""))[0] == "silent"


def test_what_oracle_does_not_say_is_no_loss(watch: Watch) -> None:
    from ocifree_pipeline.sandbox.faults import Rule

    watch.deployment.sandbox.faults.add(
        Rule(operation="ListInstances", status=404, code="NotAuthorizedOrNotFound", message="no", times=99)
    )
    assert "Oracle could not be asked" in watch.says(4)
    assert watch.turn("ampere_1") is None


def test_while_a_run_works_on_them_nobody_looks(watch: Watch) -> None:
    deployment = watch.deployment
    job = deployment.definitions.resolve_implicit_global_asset_job_def()
    run = deployment.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    reads = deployment.sandbox.recorder.total
    assert watch.says() == f"run {run.run_id[:8]} works on the machines"
    assert deployment.sandbox.recorder.total == reads


def test_without_machines_there_is_nothing_to_watch(proxmox: Deployment) -> None:
    watch: Any = Watch(proxmox)
    assert watch.says() == "no machine has been claimed yet"
