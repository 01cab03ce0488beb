"""Claiming a machine: at most one, whatever breaks, and the right reaction to every answer of Oracle's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from oci.core.models import AttachBootVolumeDetails, UpdateInstanceDetails
from pydantic import SecretStr

from ocifree_pipeline.deployment.capacity import Capacity, Place
from ocifree_pipeline.deployment.errors import (
    AuthFailed,
    Conflict,
    LimitReached,
    NotVerified,
    OcifreeError,
    OutOfCapacity,
    QuotaRefused,
    Refused,
    Throttled,
    Transient,
)
from ocifree_pipeline.systems.oci import boot_volumes, instances
from ocifree_pipeline.systems.oci.errors import ClockWrong, TokenWornOut
from ocifree_pipeline.systems.oci.launch import Walk
from ocifree_pipeline_tests.systems.oci.machines import World, world


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, a1_ocpus=4, a1_memory_gb=24) as found:
        yield found


def test_a_machine_is_had_tagged_and_read_back(here: World) -> None:
    running = here.claim(walk=here.walk(2))
    assert running.lifecycle_state == "RUNNING"
    assert running.availability_domain == here.ads[1]
    assert running.freeform_tags == {"ocifree-deployment": "lab", "ocifree-key": "machines/ampere_1"}
    assert (running.shape_config.ocpus, running.shape_config.memory_in_gbs) == (1, 6)
    assert here.endings() == ["had"]
    assert here.journal.open_intents() == []


def test_a_second_claim_changes_nothing(here: World) -> None:
    first = here.claim()
    before = here.sandbox.recorder.count(mutating=True)
    assert here.claim().id == first.id
    assert here.sandbox.recorder.count(mutating=True) == before
    assert here.endings() == ["had"], "finding it again is no attempt"


def test_no_room_anywhere_walks_on_and_fails_fast(here: World) -> None:
    here.scarce()
    with pytest.raises(OutOfCapacity, match=r"AD-1, .*AD-2, .*AD-3"):
        here.claim()
    assert here.endings() == ["no capacity"] * 3
    assert here.launches() == 3, "each place once: nothing retries"
    assert here.instances() == []
    assert here.journal.open_intents() == []


def test_room_in_one_fault_domain_is_found_within_the_tries(here: World) -> None:
    here.scarce({"ad": "*AD-3", "faultDomain": "FAULT-DOMAIN-2", "ocpus": 1})
    places = tuple(Place(here.ads[2], f"FAULT-DOMAIN-{number}") for number in (1, 2, 3))
    with pytest.raises(OutOfCapacity):
        here.claim(walk=Walk(places, tries=1))
    running = here.claim(walk=Walk(places, tries=3, said={here.ads[2]: Capacity.AVAILABLE}, request=7))
    assert running.fault_domain == "FAULT-DOMAIN-2"
    assert here.endings() == ["no capacity", "no capacity", "had"]
    assert (here.attempts[-1].said, here.attempts[-1].request) == (Capacity.AVAILABLE, 7)


def test_a_domain_without_the_shape_is_left_at_once(tmp_path: Path) -> None:
    with world(tmp_path, a1_absent_ad=1) as here:
        fds = tuple(Place(here.ads[0], f"FAULT-DOMAIN-{number}") for number in (1, 2, 3))
        running = here.claim(walk=Walk((*fds, Place(here.ads[1])), tries=4))
        assert running.availability_domain == here.ads[1]
        assert here.endings() == ["not offered", "had"]


def test_a_failure_after_200_is_read_from_the_work_request_and_the_walk_goes_on(here: World) -> None:
    here.scarce({"ad": "*AD-2", "ocpus": 4}, lateShare=1.0)
    running = here.claim()
    assert running.availability_domain == here.ads[1]
    assert here.endings() == ["no capacity", "had"]
    assert "out of host capacity" in here.attempts[0].words.lower()
    assert here.instances("TERMINATED") == ["lab-ampere-1"], "what Oracle ended itself; we ended nothing"
    assert here.sandbox.recorder.count(operation="TerminateInstance") == 0


ANSWERS = [
    (400, "LimitExceeded", "The following service limits were exceeded: standard-a1-core-count", LimitReached, "limit"),
    (400, "QuotaExceeded", "quota", QuotaRefused, "quota"),
    (429, "TooManyRequests", "Too many requests for the user", Throttled, "throttled"),
    (401, "NotAuthenticated", "The required information was not provided", AuthFailed, "unauthorized"),
    (404, "NotAuthorizedOrNotFound", "Authorization failed or requested resource not found.", Refused, "refused"),
    (400, "InvalidParameter", "Shape VM.Standard.A1.Flex is not valid for image", Refused, "refused"),
    (500, "InternalError", "Internal Server Error", Transient, "fault"),
    (503, "ServiceUnavailable", "Service unavailable", Transient, "fault"),
]


@pytest.mark.parametrize(("status", "code", "message", "kind", "ending"), ANSWERS)
def test_every_other_answer_ends_the_walk_in_its_own_way(
    here: World, *, status: int, code: str, message: str, kind: type[OcifreeError], ending: str
) -> None:
    here.fault(status=status, code=code, message=message, times=None)
    with pytest.raises(kind):
        here.claim(walk=here.walk(1))
    assert here.launches() == 1
    assert here.endings() == [ending]
    left_open = len(here.journal.open_intents())
    assert left_open == (1 if kind in (Transient, Throttled) else 0), "only what may have taken place stays open"


def test_a_clock_that_is_wrong_does_not_look_like_a_closed_account(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = here.session.client("core.ComputeClient")
    launch = client.launch_instance

    def late(*args: Any, **more: Any) -> Any:
        here.sandbox.inside(lambda found: setattr(found.clock, "skew_seconds", -7200.0))
        return launch(*args, **more)

    monkeypatch.setattr(client, "launch_instance", late)
    with pytest.raises(ClockWrong) as caught:
        here.claim(walk=here.walk(1))
    assert "set the clock" in caught.value.fix
    assert here.endings() == ["fault"], "unauthorized would stop the hunt until a person lets it go on"


@pytest.mark.parametrize("moment", ["after", "reset", "truncate"])
def test_a_lost_reply_leads_to_the_same_machine(here: World, moment: str) -> None:
    here.fault(moment)
    running = here.claim()
    assert here.instances() == ["lab-ampere-1"]
    assert here.endings() == ["had"]
    assert running.freeform_tags["ocifree-key"] == "machines/ampere_1"
    assert here.journal.open_intents() == []


class PowerCut(BaseException):
    """The process is gone; nothing after it runs."""


@pytest.mark.parametrize("moment", ["before the call", "after the call"])
def test_killed_at_the_launch_and_taken_up_again(here: World, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = here.session.client("core.ComputeClient")
    original = client.launch_instance

    def cut(*args: Any, **more: Any) -> Any:
        if moment == "after the call":
            original(*args, **more)
        raise PowerCut

    monkeypatch.setattr(client, "launch_instance", cut)
    with pytest.raises(PowerCut):
        here.claim(walk=here.walk(2))
    assert len(here.journal.open_intents()) == 1
    monkeypatch.setattr(client, "launch_instance", original)
    running = here.claim(walk=here.walk(1, 3))
    assert running.availability_domain == here.ads[1], "the place of the open call comes first"
    assert here.instances() == ["lab-ampere-1"]
    assert here.journal.open_intents() == []


def test_a_repeated_call_carries_the_same_token(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worst case: the launch took place, and the list does not show it yet."""
    here.fault("reset")
    monkeypatch.setattr(instances, "find_ours", lambda scope, key: None)
    with pytest.raises(Transient):
        here.claim(walk=here.walk(1))
    here.claim(walk=here.walk(1))
    assert here.instances() == ["lab-ampere-1"], "one machine from two calls"
    assert [one.replayed for one in here.sandbox.recorder.query(operation="LaunchInstance")] == [False, True]


def test_a_token_that_is_used_up_is_put_away(here: World) -> None:
    here.fault("reset")
    running = here.claim(walk=here.walk(1))
    here.journal.intend("LaunchInstance", f"machines/ampere_1 in {here.ads[0]}/any", now=here.launcher().now())
    here.fault(status=409, code="InvalidatedRetryToken", message="The retry token was used with a different request")
    compute = here.session.client("core.ComputeClient")
    compute.terminate_instance(running.id)
    here.sleep(300)
    with pytest.raises(TokenWornOut, match="409 InvalidatedRetryToken"):
        here.claim(walk=here.walk(1))
    assert here.journal.open_intents() == []
    assert here.claim(walk=here.walk(1)).id != running.id


def test_a_limit_that_an_earlier_launch_used_up_ends_in_that_machine(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = here.claim()
    seen = iter([None, there])
    monkeypatch.setattr(instances, "find_ours", lambda scope, key: next(seen))
    here.fault(status=400, code="LimitExceeded", message="standard-a1-core-count")
    assert here.claim().id == there.id


def test_a_ghost_is_a_limit_and_no_loop(here: World) -> None:
    """Oracle counts a failed launch for about an hour."""
    here.scarce(ghosts=1.0)
    with pytest.raises(OutOfCapacity):
        here.claim(walk=here.walk(1))
    for _ in range(3):
        with pytest.raises(OutOfCapacity):
            here.claim(walk=here.walk(1))
    with pytest.raises(LimitReached):
        here.claim(walk=here.walk(1, 2, 3))
    assert here.endings()[-1] == "limit"
    here.sleep(3700)
    here.scarce({"ocpus": 8})
    assert here.claim().lifecycle_state == "RUNNING"


def test_two_machines_under_one_name_are_named_and_kept(here: World) -> None:
    first = here.claim()
    compute = here.session.client("core.ComputeClient")
    second = here.claim("ampere_2")
    compute.update_instance(second.id, UpdateInstanceDetails(freeform_tags=first.freeform_tags))
    with pytest.raises(Conflict) as refused:
        here.claim()
    assert first.id in refused.value.what
    assert second.id in refused.value.what
    assert len(here.instances()) == 2


def test_a_stopped_machine_is_not_started_behind_your_back(here: World) -> None:
    there = here.claim()
    here.session.client("core.ComputeClient").instance_action(there.id, "STOP")
    here.sleep(120)
    with pytest.raises(NotVerified) as told:
        here.claim()
    assert "--action START" in told.value.why
    assert here.instances("STOPPED") == ["lab-ampere-1"]


def test_what_is_handed_over_can_be_taken_back_and_nothing_else_changes(here: World) -> None:
    there = here.claim(handed_over={"ocifree_tailnet_key": SecretStr("tskey-auth-secret")})
    assert there.metadata["ocifree_tailnet_key"] == "tskey-auth-secret"
    assert instances.drop_metadata(here.session, there, "ocifree_tailnet_key")
    after = instances.read(here.session, there.id)
    assert "ocifree_tailnet_key" not in after.metadata
    assert after.metadata == {k: v for k, v in there.metadata.items() if k != "ocifree_tailnet_key"}
    assert after.lifecycle_state == "RUNNING"
    assert not instances.drop_metadata(here.session, after, "ocifree_tailnet_key")
    assert "tskey" not in repr(here.wanted(handed_over={"x": SecretStr("tskey-auth-secret")}))
    assert "tskey" not in here.journal.file.read_text()


def test_the_disk_of_a_machine_is_the_one_that_it_has_now(here: World) -> None:
    """A person has given it that of another, as one does to rescue what is on it."""
    there, other = here.claim(), here.claim("ampere_2")
    compute = here.session.client("core.ComputeClient")
    volume = boot_volumes.volume_of(here.scope, other)
    compute.terminate_instance(other.id, preserve_boot_volume=True)
    compute.instance_action(there.id, "STOP")
    here.sleep(300)
    (had,) = compute.list_boot_volume_attachments(
        there.availability_domain, there.compartment_id, instance_id=there.id
    ).data
    compute.detach_boot_volume(had.id)
    here.sleep(60)
    with pytest.raises(NotVerified, match="has no boot volume"):
        boot_volumes.volume_of(here.scope, there)
    compute.attach_boot_volume(AttachBootVolumeDetails(boot_volume_id=volume.id, instance_id=there.id))
    here.sleep(60)
    assert boot_volumes.volume_of(here.scope, there).id == volume.id


def test_orphan_boot_volumes_of_ours_are_found_and_others_are_not(here: World) -> None:
    there = here.claim()
    volume = boot_volumes.volume_of(here.scope, there)
    assert boot_volumes.mark(here.scope, volume, "machines/ampere_1")
    assert not boot_volumes.mark(here.scope, boot_volumes.volume_of(here.scope, there), "machines/ampere_1")
    assert boot_volumes.orphans(here.scope, "machines/ampere_1", here.ads) == [], "it is in use"
    here.claim("ampere_2")
    compute = here.session.client("core.ComputeClient")
    for instance in compute.list_instances(here.sandbox.tenancy).data:
        compute.terminate_instance(instance.id, preserve_boot_volume=True)
    here.sleep(300)
    (orphan,) = boot_volumes.orphans(here.scope, "machines/ampere_1", here.ads)
    assert (orphan.id, orphan.size_gb) == (volume.id, 50)
    boot_volumes.remove(here.scope, orphan)
    here.sleep(60)
    assert boot_volumes.orphans(here.scope, "machines/ampere_1", here.ads) == []
