"""Facts of the group machines, the way to a machine that they give, and the record of attempts to claim one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import dagster as dg

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.capacity import Attempt, Capacity, Ending, Place
from ocifree_pipeline.deployment.errors import PreconditionMissing
from ocifree_pipeline.deployment.plan import Machine
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.destroyed import MARK, last_mark
from ocifree_pipeline.record.facts import find_facts, read_facts
from ocifree_pipeline.record.observed import newest
from ocifree_pipeline.record.outcome import Facts
from ocifree_pipeline.record.watched import is_lost, lost_at
from ocifree_pipeline.systems.guests import Kind
from ocifree_pipeline.systems.ssh.dialer import Dialer, Hop
from ocifree_pipeline.systems.ssh.host_keys import host_keys_of

CAPACITY = "tenancy/a1_capacity"
RESUME = "resume the hunt"
MOST_NEWS = 5000
FRESH_SECONDS = 1800.0
"""How long the hunt's view of capacity may guide a launch."""


class InstanceFacts(Facts):
    """machines/<name>: who it is and where it answers. `host_key` and what follows are None for Talos."""

    name: str
    ocid: str
    availability_domain: str
    fault_domain: str
    shape: str
    ocpus: int
    memory_gb: int
    image: str
    boot_volume: str
    private_ip: str
    public_ip: str | None
    answers: Kind
    host_key: str | None
    machine_id: str | None
    architecture: str | None
    kernel: str | None


class CapacityFacts(Facts):
    """tenancy/a1_capacity: what the hunt saw last, and where it wants the next launch."""

    seen: dict[str, Capacity]
    asked_at: float
    request: int
    machines: tuple[str, ...]
    places: tuple[tuple[str, str | None], ...]
    tries: int


def key_of(machine: Machine) -> str:
    return f"machines/{machine.name}"


def host_name(blueprint: Blueprint, machine: str) -> str:
    """The name that the machine itself has, and that Oracle's console shows."""
    return f"{blueprint.declaration.name}-{machine.replace('_', '-')}"


# the way to a machine -------------------------------------------------------------------------------------------------


def hop_to(blueprint: Blueprint, facts: InstanceFacts) -> Hop:
    """The address under which this machine is dialled."""
    declaration = blueprint.declaration
    is_bastion = blueprint.plan.bastion is not None and facts.name == blueprint.plan.bastion.name
    via = "direct" if is_bastion else declaration.ssh_via
    if via == "bastion":
        host: str | None = facts.private_ip
    elif via == "tailnet":
        host = host_name(blueprint, facts.name)
    else:
        host = facts.public_ip
    if host is None:
        raise PreconditionMissing(
            f"{facts.name} has no public address",
            why="access.via is `direct`, and the machine is in a subnet without public addresses",
            fix="write `via: bastion` under `access`",
        )
    return Hop(facts.name, host, declaration.access.ssh_user)


def dialer_for(step: Step, machine: str) -> Dialer:
    """How this deployment reaches `machine`: over the bastion where that is the way, and then it must stand."""
    declaration, bastion = step.blueprint.declaration, step.blueprint.plan.bastion
    jump = None
    if bastion is not None and machine != bastion.name and declaration.ssh_via == "bastion":
        jump = hop_to(step.blueprint, read_facts(step.instance, key_of(bastion), InstanceFacts))
    return Dialer(host_keys_of(declaration.name), jump=jump, http_proxy=declaration.access.http_proxy)


# attempts -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Guide:
    """Where the hunt wants a machine launched, and what the report had said."""

    places: tuple[Place, ...]
    tries: int
    said: Mapping[str, Capacity]
    request: int


def guide_of(instance: dg.DagsterInstance, machine: str, now: datetime) -> Guide | None:
    """The hunt's wish for this machine, while it is fresh."""
    facts = find_facts(instance, CAPACITY, CapacityFacts)
    if facts is None or machine not in facts.machines or abs(now.timestamp() - facts.asked_at) > FRESH_SECONDS:
        return None
    return Guide(tuple(Place(ad, fd) for ad, fd in facts.places), facts.tries, facts.seen, facts.request)


def note_attempt(instance: dg.DagsterInstance, attempt: Attempt) -> None:
    """An attempt to claim, as an observation of its machine: seen in the UI, counted by the hunt, kept for ever."""
    instance.report_runless_asset_event(
        dg.AssetObservation(
            asset_key=["machines", attempt.machine],
            description=f"launch in {attempt.place}: {attempt.ending.value}",
            metadata={
                "summary": dg.MetadataValue.text(f"launch in {attempt.place}: {attempt.words}"),
                "launched": dg.MetadataValue.int(int(attempt.ending is Ending.HAD)),
                "attempt": dg.MetadataValue.json(json.loads(json.dumps(asdict(attempt)))),
            },
        )
    )


@dataclass(frozen=True, slots=True)
class News:
    """What was recorded about machines since somebody last looked. `to` is where to go on."""

    attempts: tuple[Attempt, ...]
    resumed: bool
    to: int


def news_of(instance: dg.DagsterInstance, keys: Sequence[str], after: int = 0) -> News:
    """Attempts, and whether a person lets the hunt go on; oldest first."""
    attempts: list[tuple[int, Attempt]] = []
    resumed, to = False, after
    for key in keys:
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(key.split("/")), after_storage_id=after)
        for record in instance.fetch_observations(wanted, limit=MOST_NEWS, ascending=True).records:
            to = max(to, record.storage_id)
            metadata = record.asset_observation.metadata if record.asset_observation else {}
            resumed = resumed or RESUME in metadata
            if "attempt" in metadata:
                attempts.append((record.storage_id, _attempt(metadata["attempt"].value)))
    return News(tuple(attempt for _, attempt in sorted(attempts, key=lambda one: one[0])), resumed, to)


def let_hunt_go_on(instance: dg.DagsterInstance, key: str) -> None:
    """A person has looked at why the hunt stopped. The next tick reads it."""
    instance.report_runless_asset_event(
        dg.AssetObservation(
            asset_key=key.split("/"),
            description="the hunt may go on",
            metadata={RESUME: dg.MetadataValue.bool(True), "summary": dg.MetadataValue.text("the hunt may go on")},
        )
    )


def held(instance: dg.DagsterInstance, machine: str) -> InstanceFacts | None:
    """The machine that was had and answered, unless it was lost since."""
    return None if is_lost(instance, machine) else find_facts(instance, f"machines/{machine}", InstanceFacts)


def is_claimed(instance: dg.DagsterInstance, machine: str) -> bool:
    """Had from Oracle, and not yet heard of: nobody needs to hunt for it any more."""
    made = instance.fetch_materializations(dg.AssetKey(["machines", machine]), limit=1).records
    after = made[0].storage_id if made else None
    record = newest(instance, f"machines/{machine}", lambda told: MARK in told or "attempt" in told, after)
    told = record.asset_observation.metadata if record and record.asset_observation else {}
    return MARK not in told and "attempt" in told and _attempt(told["attempt"].value).ending is Ending.HAD


def _attempt(data: object) -> Attempt:
    fields = dict(data) if isinstance(data, Mapping) else {}
    return Attempt(
        machine=str(fields["machine"]),
        place=Place(**fields["place"]),
        said=Capacity(fields["said"]),
        ending=Ending(fields["ending"]),
        words=str(fields["words"]),
        request=int(fields["request"]),
    )


def first_ocid(instance: dg.DagsterInstance, machine: str) -> str | None:
    """The instance of the first materialization since the deployment was destroyed or Oracle ended the machine."""
    key = dg.AssetKey(["machines", machine])
    end = last_mark(instance, key.to_user_string())
    ends = [one for one in (end.storage_id if end else None, lost_at(instance, machine)) if one is not None]
    since = dg.AssetRecordsFilter(asset_key=key, after_storage_id=max(ends, default=None))
    found = instance.fetch_materializations(since, limit=1, ascending=True).records
    event = found[0].asset_materialization if found else None
    value = event.metadata.get("facts") if event else None
    if value is None or not isinstance(value.value, Mapping):
        return None
    return str(value.value.get("ocid"))
