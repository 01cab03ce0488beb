"""Machines from nothing to an answer over SSH, in the real graph against the sandbox."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import oci
import pytest

from ocifree_pipeline.deployment.errors import OcifreeError
from ocifree_pipeline.sandbox import capacity
from ocifree_pipeline.systems import guests
from ocifree_pipeline.systems.oci import console_history
from ocifree_pipeline.systems.oci.waiting import TimedOut
from ocifree_pipeline.systems.ssh.dialer import Dialer, Hop
from ocifree_pipeline.systems.ssh.host_keys import host_keys_of
from ocifree_pipeline_tests.assets.conftest import Deployment, a1_image

BASTION, AMPERE = "machines/bastion", "machines/ampere_1"


def scarce(deployment: Deployment, *windows: dict[str, Any]) -> None:
    description = {"process": "trace", "windows": list(windows)}
    deployment.sandbox.inside(lambda world: capacity.configure(world, description))


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {f"{one.asset_key.path[-1]}:{one.check_name}": one.passed for one in result.get_asset_check_evaluations()}


def test_up_to_ssh_and_the_second_time_nothing_changes(proxmox: Deployment) -> None:
    result = proxmox.materialize(BASTION, AMPERE, "machines/ampere_2")
    assert checks(result) == {
        "bastion:guest_answers": True, "bastion:identity_unique": True,
        "ampere_1:guest_answers": True, "ampere_1:identity_unique": True, "ampere_1:kvm": True,
        "ampere_1:never_recreated": True,
        "ampere_2:guest_answers": True, "ampere_2:identity_unique": True, "ampere_2:kvm": True,
        "ampere_2:never_recreated": True,
    }  # fmt: skip
    bastion, ampere = proxmox.facts(BASTION), proxmox.facts(AMPERE)
    assert bastion["public_ip"] == proxmox.facts("oci/reserved_ips")["addresses"]["bastion"]["address"]
    assert f" -J ocifree@{bastion['public_ip']} " in proxmox.metadata(AMPERE)["look inside"], "over the bastion"
    assert (ampere["architecture"], bastion["architecture"]) == ("aarch64", "x86_64")
    assert ampere["host_key"].startswith("SHA256:")
    assert ampere["host_key"] != bastion["host_key"]
    keys = host_keys_of(proxmox.blueprint.declaration.name)
    assert {keys.of(name)[0].fingerprint for name in ("bastion", "ampere_1")} == {
        bastion["host_key"], ampere["host_key"],
    }  # fmt: skip
    assert stat.S_IMODE(keys.file.stat().st_mode) == 0o600

    before, calls = proxmox.facts(AMPERE), proxmox.mutations()
    again = proxmox.materialize(BASTION, AMPERE, "machines/ampere_2")
    assert proxmox.mutations() == calls, "zero mutating calls"
    assert proxmox.metadata(AMPERE)["plan"] == "nothing to do"
    assert proxmox.facts(AMPERE) == before
    assert all(checks(again).values())


def test_no_capacity_fails_fast_and_names_the_hunt(proxmox: Deployment) -> None:
    proxmox.materialize(BASTION)
    scarce(proxmox)
    result = proxmox.materialize(AMPERE, good=False)
    told = proxmox.errors(result)["machines__ampere_1"]
    assert (told["error"], told["reaction"]) == ("OutOfCapacity", "wait")
    assert "the hunt goes on" in told["fix"]
    codes = [one.code for one in proxmox.sandbox.recorder.query(operation="LaunchInstance")]
    assert codes[1:] == ["InternalError"] * 3, "every domain was asked, and the quota leaves room in each"
    observed = proxmox.instance.fetch_observations(dg.AssetKey(["machines", "ampere_1"]), limit=10).records
    assert len(observed) == 3, "each attempt is in the record"


def test_without_the_bastion_the_machine_is_claimed_and_then_waits_for_the_way(proxmox: Deployment) -> None:
    """Capacity may never return, so it is taken first."""
    result = proxmox.materialize(AMPERE, good=False)
    told = proxmox.errors(result)["machines__ampere_1"]
    assert (told["error"], told["fix"]) == ("PreconditionMissing", "ocifree up --select 'machines/bastion'")
    proxmox.materialize(BASTION)
    proxmox.materialize(AMPERE)
    assert proxmox.sandbox.recorder.count(operation="LaunchInstance") == 2
    assert "take over lab-ampere-1" in proxmox.metadata(AMPERE)["plan"]


def test_a_newer_image_is_for_the_next_machine(proxmox: Deployment) -> None:
    proxmox.materialize(BASTION, AMPERE)
    ocid, calls = proxmox.facts(AMPERE)["ocid"], proxmox.mutations()
    newer = "ocid1.image.oc1.uk-london-1.other"
    proxmox.pretend("oci/custom_image/proxmox_ampere", **a1_image(newer))
    result = proxmox.materialize(AMPERE)
    assert proxmox.facts(AMPERE)["ocid"] == ocid
    assert proxmox.mutations() == calls
    assert proxmox.metadata(AMPERE)["plan"] == "nothing to do"
    (verdict,) = [one for one in result.get_asset_check_evaluations() if one.check_name == "never_recreated"]
    assert verdict.passed
    assert str(verdict.description).endswith(f"kept up to date in place, {newer} is for the next machine")


def test_what_only_a_person_can_change_is_told_and_never_done(proxmox: Deployment) -> None:
    proxmox.materialize(BASTION, AMPERE)
    calls = proxmox.mutations()
    access = proxmox.blueprint.declaration.access
    keys = (
        *access.ssh_public_keys,
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAbcdefghijklmnopqrstuvwxyz0123456789ABCDEF you",
    )
    declaration = proxmox.blueprint.declaration.model_copy(
        update={"access": access.model_copy(update={"ssh_public_keys": keys})}
    )
    result = replace(proxmox, blueprint=replace(proxmox.blueprint, declaration=declaration)).materialize(AMPERE)
    assert proxmox.mutations() == calls
    assert "left as it is: access.ssh_public_keys changed" in proxmox.metadata(AMPERE)["plan"]
    (verdict,) = [one for one in result.get_asset_check_evaluations() if one.check_name == "never_recreated"]
    assert (verdict.passed, verdict.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "authorized_keys" in str(verdict.description)
    assert "terminate" not in str(verdict.description)


def test_a_machine_that_is_gone_is_asked_for_again_with_a_new_identity(proxmox: Deployment) -> None:
    proxmox.materialize(BASTION, AMPERE)
    old = proxmox.facts(AMPERE)
    compute = proxmox.client(oci.core.ComputeClient)
    compute.terminate_instance(old["ocid"], preserve_boot_volume=True)
    proxmox.sandbox.advance(300)
    result = proxmox.materialize(AMPERE)
    new, plan = proxmox.facts(AMPERE), proxmox.metadata(AMPERE)["plan"]
    assert new["ocid"] != old["ocid"]
    assert new["host_key"] != old["host_key"]
    assert f"{old['ocid']} is gone" in plan
    assert "left as it is: the disk of the machine that is gone" in plan, "somebody's data is never swept"
    assert not checks(result)["ampere_1:never_recreated"]


def test_the_disk_of_every_machine_that_once_answered_is_kept(proxmox: Deployment) -> None:
    """Two were lost, one after the other; what the first has left is nobody's to delete when the third is made."""
    proxmox.materialize(BASTION, AMPERE)
    first = proxmox.facts(AMPERE)
    proxmox.client(oci.core.ComputeClient).terminate_instance(first["ocid"], preserve_boot_volume=True)
    proxmox.sandbox.advance(300)
    proxmox.pretend(
        AMPERE, **{**first, "ocid": "ocid1.instance.oc1..second", "boot_volume": "ocid1.bootvolume.oc1..second"}
    )
    proxmox.materialize(AMPERE)
    assert first["boot_volume"] in proxmox.metadata(AMPERE)["plan"]
    volume = proxmox.client(oci.core.BlockstorageClient).get_boot_volume(first["boot_volume"]).data
    assert volume.lifecycle_state == "AVAILABLE"


def test_a_machine_that_has_lost_its_tags_is_not_doubled(proxmox: Deployment) -> None:
    proxmox.materialize(BASTION, AMPERE)
    ocid, tags = proxmox.facts(AMPERE)["ocid"], oci.core.models.UpdateInstanceDetails(freeform_tags={})
    proxmox.client(oci.core.ComputeClient).update_instance(ocid, tags)
    told = proxmox.errors(proxmox.materialize(AMPERE, good=False))["machines__ampere_1"]
    assert (told["error"], told["reaction"]) == ("Conflict", "stop")
    assert """'{"ocifree-deployment": "lab", "ocifree-key": "machines/ampere_1"}'""" in told["fix"]
    assert proxmox.sandbox.recorder.count(operation="LaunchInstance") == 2


def test_somebody_else_at_the_address_is_not_let_in(proxmox: Deployment) -> None:
    proxmox.materialize(BASTION, AMPERE)
    keys = host_keys_of("lab")
    line = keys.of("bastion")[0]
    keys.forget("ampere_1")
    keys.pin(type(line)("ampere_1", line.kind, line.blob))
    result = proxmox.materialize(AMPERE, good=False)
    assert proxmox.errors(result)["machines__ampere_1"]["error"] == "HostKeyChanged"


@pytest.mark.parametrize("console", ["kernel panic", OcifreeError("no capture", why="it is full", fix="wait")])
def test_a_guest_that_never_answers_is_waited_for_once(
    proxmox: Deployment, monkeypatch: pytest.MonkeyPatch, console: str | Exception
) -> None:
    waited: list[str] = []

    def in_vain(kind: guests.Kind, dialer: Dialer, hop: Hop, **_more: Any) -> guests.Greeting:
        waited.append(hop.machine)
        raise TimedOut("waited 480 s until it answers, in vain", why="last seen: nothing", fix="look again")

    def last_words(*_of: Any) -> str:
        if isinstance(console, Exception):
            raise console
        return console

    monkeypatch.setattr(guests, "wait_until_it_answers", in_vain)
    monkeypatch.setattr(console_history, "host_keys", lambda *_of: frozenset())
    monkeypatch.setattr(console_history, "console_text", last_words)
    result = proxmox.materialize(BASTION, good=False)
    error = proxmox.errors(result)["machines__bastion"]
    assert (error["error"], error["what"]) == ("NotVerified", "waited 480 s until it answers, in vain")
    assert "ocifree up --select 'machines/bastion'" in error["fix"]
    assert "console history" in error["fix"]
    assert waited == ["bastion"]
    told = "".join(str(event) for event in proxmox.instance.all_logs(proxmox.instance.get_runs()[0].run_id))
    assert (console if isinstance(console, str) else "it cannot be read: no capture: it is full") in told


def test_no_secret_and_no_private_key_is_in_the_record(proxmox: Deployment, tmp_path: Path) -> None:
    proxmox.materialize(BASTION)
    recorded = str(proxmox.metadata(BASTION)) + "".join(
        str(event) for event in proxmox.instance.all_logs(proxmox.instance.get_runs()[0].run_id)
    )
    assert "PRIVATE KEY" not in recorded
    assert "user_data" not in recorded


@pytest.mark.parametrize(("operation", "moment"), [("LaunchInstance", "after"), ("UpdatePublicIp", "before")])
def test_a_fault_at_a_change_is_survived_by_trying_again(
    proxmox: Deployment, operation: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Dagster, that is; what each call does about each fault is the matter of the fault matrix."""
    from ocifree_pipeline.sandbox.faults import Rule

    monkeypatch.setattr("ocifree_pipeline.record.definition.RETRY_SECONDS", 0)
    proxmox.sandbox.faults.add(Rule(operation=operation, moment=moment, status=503, code="Unavailable"))  # type: ignore[arg-type]
    proxmox.materialize(BASTION)
    assert len(proxmox.sandbox.faults.fired) == 1
    alive = proxmox.sandbox.inside(lambda world: [one.state for one in world.all("instance")])
    assert alive == ["RUNNING"]
    assert proxmox.facts(BASTION)["public_ip"] == proxmox.facts("oci/reserved_ips")["addresses"]["bastion"]["address"]
