"""machines/bastion, machines/ampere_<n>, links/tailnet: instances that answered, and the paths to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import dagster as dg

from ocifree_pipeline.assets.departed import take_out
from ocifree_pipeline.assets.tailnet import links
from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.capacity import Attempt, Place
from ocifree_pipeline.deployment.errors import NotVerified, OcifreeError
from ocifree_pipeline.deployment.machine_differences import differences
from ocifree_pipeline.deployment.plan import Machine
from ocifree_pipeline.record.claims import Claim, claim_of, handed_over, standing_of
from ocifree_pipeline.record.definition import Step, define_asset
from ocifree_pipeline.record.facts import find_facts, materialize_command
from ocifree_pipeline.record.foundation import ReservedIpsFacts, scope_of
from ocifree_pipeline.record.machines import InstanceFacts, dialer_for, guide_of, hop_to, note_attempt
from ocifree_pipeline.record.outcome import Outcome
from ocifree_pipeline.record.replaced import disks, require_ended
from ocifree_pipeline.record.tailnet import LINKS
from ocifree_pipeline.record.tenancy import LimitsFacts, PlanFacts, a1_domains
from ocifree_pipeline.systems.guests import Greeting, kind_of

GROUP = "machines"
TRIES_BY_HAND = 6
CONSOLE_LINES = 40


def assets(blueprint: Blueprint) -> Iterator[dg.AssetsDefinition]:
    define = partial(define_asset, blueprint, group=GROUP)
    for machine in blueprint.plan.machines:
        yield define(
            f"machines/{machine.name}",
            partial(_materialize, machine=machine),
            kinds={"oracle", "linux"},
            deps=upstreams(blueprint, machine),
            describe=(
                f"{machine.shape} with {machine.ocpus} OCPU, {machine.memory_gb} GB and a boot volume of "
                f"{machine.boot_volume_gb} GB. Materialized when the guest itself has answered. Never recreated, "
                "stopped or reshaped without a typed confirmation."
                if machine.is_ampere
                else "The x86_64 Micro with a public address: the way in, and the third vote of a two-node cluster."
            ),
        )
    if blueprint.declaration.access.tailscale.enabled:
        yield define(
            LINKS,
            links,
            kinds={"tailscale"},
            deps=[f"machines/{machine.name}" for machine in blueprint.tailnet_machines],
            describe="The machines on the tailnet, each known to its control server and answering at its address.",
        )


def upstreams(blueprint: Blueprint, machine: Machine) -> list[str]:
    """What has to stand before this machine. A1 machines are asked whether they answer over the bastion."""
    image = blueprint.image_of(machine)
    is_imported = image in blueprint.custom_images
    deps = ["oci/network", f"oci/custom_image/{image}" if is_imported else f"images/{image}"]
    if not machine.is_ampere:
        return [*deps, "oci/reserved_ips"]
    deps.append("tenancy/a1_capacity")
    if blueprint.plan.topology == "talos-native":
        deps.append(f"talos/machine_config_{machine.name.removeprefix('ampere_')}")
    if blueprint.declaration.ssh_via == "bastion" and blueprint.plan.bastion is not None:
        deps.append(f"machines/{blueprint.plan.bastion.name}")
    return deps


def _materialize(step: Step, machine: Machine) -> Outcome:
    from ocifree_pipeline.systems.oci import boot_volumes, instances

    scope = scope_of(step)
    reserved = None if machine.is_ampere else step.facts("oci/reserved_ips", ReservedIpsFacts).addresses.get("bastion")
    before = find_facts(step.instance, step.key, InstanceFacts)

    claim = claim_of(step, machine, reserved_ip=reserved.id if reserved else None)
    there = instances.find_ours(scope, step.key)
    places = _places(step, machine)
    lines = _plan(claim, there, before, places)
    if there is None:
        if before is not None:
            require_ended(scope, before)
        claim = replace(claim, wanted=replace(claim.wanted, handed_over=handed_over(step, machine)))
        lines += _sweep(step, scope, disks(step.instance, machine.name))
    for line in lines:
        step.say(line)
    attempts: list[Attempt] = []
    instance = _claim(step, scope, claim, places, attempts)
    if there is None and before is not None and machine.is_ampere and step.blueprint.plan.topology == "talos-native":
        lines += take_out(step, int(machine.name.removeprefix("ampere_")))

    volume = boot_volumes.volume_of(scope, instance)
    if boot_volumes.mark(scope, volume, step.key):
        lines.append("tag its boot volume")
    card = instances.card_of(scope, instance)
    if reserved is not None:
        if instances.give_address(scope, card, reserved.id):
            lines.append(f"give it the reserved address {reserved.address}")
        card = replace(card, public_ip=reserved.address)
    facts = _facts(machine, instance, str(volume.id), card, kind_of(step.blueprint.image_of(machine)))
    greeting = _answered(step, scope, instance, facts, before)
    if _take_back(scope, instance):
        lines.append("take the key for the tailnet out of its metadata")
    facts = _with_greeting(step, facts, greeting)
    kvm = "unknown" if greeting.has_kvm is None else "yes" if greeting.has_kvm else "no"
    return Outcome(
        summary=f"{facts.name} answers at {hop_to(step.blueprint, facts).host}: {greeting.kind}, {_where(facts)}",
        facts=facts,
        plan=tuple(lines),
        numbers={"changes": len(lines), "launches": len(attempts)},
        evidence=[
            {"what": "kernel", "found": facts.kernel},
            {"what": "architecture", "found": facts.architecture},
            {"what": "host key", "found": facts.host_key},
            {"what": "/dev/kvm", "found": kvm},
        ],
        links={"console": f"https://cloud.oracle.com/compute/instances/{facts.ocid}?region={scope.session.region}"},
        look_inside=_ssh(step, facts),
    )


# plan -----------------------------------------------------------------------------------------------------------------


def _plan(claim: Claim, there: Any, before: InstanceFacts | None, places: Sequence[Place]) -> list[str]:
    wanted = claim.wanted
    if there is None:
        lost = [f"{before.ocid} is gone; everything that hangs on it is made again"] if before else []
        return [*lost, f"launch {wanted.name} in the first of {', '.join(map(str, places))} that has room"]
    lines = [] if before and before.ocid == there.id else [f"take over {wanted.name}, which stands ({there.id})"]
    return [*lines, *(f"left as it is: {one}" for one in differences(claim.declared, standing_of(there)))]


def _places(step: Step, machine: Machine) -> tuple[Place, ...]:
    """The hunt's choice while it is fresh; else the plan's domain, then the others that the policy allows."""
    guide = guide_of(step.instance, machine.name, datetime.now(UTC))
    if guide is not None and guide.places:
        return guide.places
    planned = {one.name: one.availability_domain for one in step.facts("tenancy/plan", PlanFacts).machines}
    home = planned.get(machine.name)
    if not machine.is_ampere:
        return (Place(home),) if home else ()
    wanted = a1_domains(step.blueprint.declaration.hunt, step.facts("tenancy/limits", LimitsFacts))
    return tuple(Place(ad) for ad in sorted(wanted, key=lambda ad: ad != home))


def _sweep(step: Step, scope: Any, kept: frozenset[str]) -> list[str]:
    """Boot volumes that a launch left behind go; the disk of a machine that once answered is somebody's data."""
    from ocifree_pipeline.systems.oci import boot_volumes

    lines = []
    for orphan in boot_volumes.orphans(scope, step.key, step.facts("tenancy/limits", LimitsFacts).availability_domains):
        if orphan.id in kept:
            lines.append(
                f"left as it is: the disk of the machine that is gone, {orphan}. It counts against the free storage: "
                f"oci bv boot-volume delete --boot-volume-id {orphan.id}"
            )
            continue
        lines.append(f"remove the boot volume that was left behind: {orphan}")
        boot_volumes.remove(scope, orphan)
    return lines


# apply ----------------------------------------------------------------------------------------------------------------


def _claim(step: Step, scope: Any, claim: Claim, places: tuple[Place, ...], attempts: list[Attempt]) -> Any:
    from ocifree_pipeline.systems.journal import journal_of
    from ocifree_pipeline.systems.oci.launch import Launcher, Walk

    def note(attempt: Attempt) -> None:
        attempts.append(attempt)
        step.say(f"launch in {attempt.place}: {attempt.words}")
        note_attempt(step.instance, attempt)

    guide = guide_of(step.instance, claim.wanted.machine.name, datetime.now(UTC))
    walk = (
        Walk(places, guide.tries, guide.said, guide.request)
        if guide and guide.places == places
        else Walk(places, TRIES_BY_HAND)
    )
    return Launcher(scope, journal_of(scope.deployment), note).claim(claim.wanted, walk)


def _take_back(scope: Any, instance: Any) -> bool:
    from ocifree_pipeline.systems.cloud_init.render import JOIN_ENTRY
    from ocifree_pipeline.systems.oci import instances

    return instances.drop_metadata(scope.session, instances.read(scope.session, instance.id), JOIN_ENTRY)


# read back ------------------------------------------------------------------------------------------------------------


def _answered(step: Step, scope: Any, instance: Any, facts: InstanceFacts, before: InstanceFacts | None) -> Greeting:
    from ocifree_pipeline.systems.guests import wait_until_it_answers
    from ocifree_pipeline.systems.oci import console_history
    from ocifree_pipeline.systems.oci.waiting import TimedOut

    dialer, hop = dialer_for(step, facts.name), hop_to(step.blueprint, facts)
    try:
        trusted: frozenset[str] = frozenset()
        if facts.answers == "linux" and not (before and before.ocid == facts.ocid and dialer.keys.of(facts.name)):
            step.say("learn its host key from the console that Oracle shows")
            trusted = console_history.host_keys(scope, instance.id, facts.name)
            if not any(key.fingerprint in trusted for key in dialer.keys.of(facts.name)):
                dialer.keys.forget(facts.name)
        step.say(f"wait until {facts.name} answers at {hop.host}")
        return wait_until_it_answers(facts.answers, dialer, hop, trusted=trusted)
    except TimedOut as error:
        step.say(f"the last lines of its console history:\n{_last_words(scope, instance, facts.name)}")
        # Not Transient: trying again at once would be the same wait twice more before anybody learns of it.
        raise NotVerified(
            error.what,
            why=f"{error.why}; Oracle says that it runs, which says nothing about its guest",
            fix=f"read the end of its console history in the log of this step; when its guest, or the way to it, is "
            f"mended, {materialize_command(step.key)} looks again and goes on",
        ) from error


def _last_words(scope: Any, instance: Any, name: str) -> str:
    from ocifree_pipeline.systems.oci import console_history

    try:
        lines = console_history.console_text(scope, instance.id, name).splitlines()[-CONSOLE_LINES:]
    except OcifreeError as error:
        return f"(it cannot be read: {error.what}: {error.why})"
    return "\n".join(lines) or "(it is empty: the image did not boot)"


def _facts(machine: Machine, instance: Any, volume: str, card: Any, kind: Any) -> InstanceFacts:
    return InstanceFacts(
        name=machine.name,
        ocid=instance.id,
        availability_domain=instance.availability_domain,
        fault_domain=instance.fault_domain,
        shape=instance.shape,
        ocpus=int(instance.shape_config.ocpus),
        memory_gb=int(instance.shape_config.memory_in_gbs),
        image=instance.image_id,
        boot_volume=volume,
        private_ip=card.private_ip,
        public_ip=card.public_ip,
        answers=kind,
        host_key=None,
        machine_id=None,
        architecture=None,
        kernel=None,
    )


def _with_greeting(step: Step, facts: InstanceFacts, greeting: Greeting) -> InstanceFacts:
    from ocifree_pipeline.systems.ssh.host_keys import host_keys_of

    pinned = host_keys_of(step.blueprint.declaration.name).of(facts.name)
    return facts.model_copy(
        update={
            "host_key": pinned[0].fingerprint if pinned else None,
            "machine_id": greeting.machine_id,
            "architecture": greeting.architecture,
            "kernel": greeting.kernel,
        }
    )


def _where(facts: InstanceFacts) -> str:
    return f"{facts.availability_domain.rpartition(':')[2]} {facts.fault_domain}"


def _ssh(step: Step, facts: InstanceFacts) -> str:
    if facts.answers == "talos":
        return f"talosctl --nodes {facts.private_ip} version"
    dialer, hop = dialer_for(step, facts.name), hop_to(step.blueprint, facts)
    jump = f" -J {dialer.jump.user}@{dialer.jump.host}" if dialer.jump else ""
    return f"ssh -o UserKnownHostsFile={dialer.keys.file} -o HostKeyAlias={facts.name}{jump} {hop.user}@{hop.host}"
