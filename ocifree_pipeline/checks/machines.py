"""Checks of the group machines, each against the real machine."""

from __future__ import annotations

from collections import Counter

from ocifree_pipeline.deployment.machine_differences import differences, newer_image
from ocifree_pipeline.deployment.plan import Machine
from ocifree_pipeline.record.claims import claim_of, standing_of
from ocifree_pipeline.record.definition import Step, Verdict
from ocifree_pipeline.record.facts import find_facts
from ocifree_pipeline.record.foundation import scope_of
from ocifree_pipeline.record.machines import InstanceFacts, dialer_for, first_ocid, hop_to, key_of
from ocifree_pipeline.systems import guests


def guest_answers(step: Step) -> Verdict:
    """Knocks again, with the pinned host key and no other."""
    facts = step.facts(step.key, InstanceFacts)
    greeting = _greet(step, facts)
    if greeting.machine_id != facts.machine_id:
        return Verdict(False, f"another machine answers: {greeting.machine_id} instead of {facts.machine_id}")
    return Verdict(True, f"{facts.name} answers: {greeting.kind} {greeting.kernel or ''}".strip())


def kvm(step: Step) -> Verdict:
    """Says what is there. A1 has none, so a missing one is no failure: guests then run with `kvm: 0`."""
    facts = step.facts(step.key, InstanceFacts)
    if facts.answers == "talos":
        return Verdict(True, "not applicable: Talos runs on the machine itself, and nothing on it needs /dev/kvm")
    there = bool(_greet(step, facts).has_kvm)
    if there:
        return Verdict(True, "/dev/kvm is there: guests run at full speed", numbers={"kvm": 1})
    return Verdict(True, "there is no /dev/kvm: guests are emulated (kvm: 0), and slow", numbers={"kvm": 0})


def identity_unique(step: Step) -> Verdict:
    """No two machines share a host key or a machine id, as they do when an image was not cleaned."""
    machines = [find_facts(step.instance, key_of(machine), InstanceFacts) for machine in step.blueprint.plan.machines]
    found = [facts for facts in machines if facts is not None]
    mine = step.facts(step.key, InstanceFacts)
    if mine.answers == "talos":
        return Verdict(True, "Talos makes its identity from its machine configuration, and shows none to strangers")
    shared = [
        f"{what} {value} is that of {', '.join(sorted(f.name for f in found if getattr(f, field) == value))}"
        for what, field in (("host key", "host_key"), ("machine id", "machine_id"))
        for value, count in Counter(getattr(facts, field) for facts in found).items()
        if value is not None and count > 1 and getattr(mine, field) == value
    ]
    return Verdict(not shared, "; ".join(shared) or f"differs from {len(found) - 1} others")


def never_recreated(step: Step) -> Verdict:
    """The instance of the first day, in the shape that was planned. What differs is named with its command."""
    from ocifree_pipeline.systems.oci import instances

    facts = step.facts(step.key, InstanceFacts)
    there = instances.find_ours(scope_of(step), step.key)
    if there is None:
        return Verdict(False, f"{facts.ocid} is gone; materializing {step.key} asks for another")
    first = first_ocid(step.instance, facts.name)
    found = [] if there.id == first else [f"{there.id} stands, the first one was {first}"]
    declared, standing = claim_of(step, _machine(step, facts), reserved_ip=None).declared, standing_of(there)
    found += differences(declared, standing)
    if not found:
        newer = newer_image(declared, standing)
        later = f"; kept up to date in place, {newer} is for the next machine" if newer else ""
        return Verdict(True, f"the instance of the first day, as it was planned{later}", numbers={"differences": 0})
    return Verdict(False, "; ".join(found), numbers={"differences": len(found)}, warn=True)


def _greet(step: Step, facts: InstanceFacts) -> guests.Greeting:
    return guests.greet(facts.answers, dialer_for(step, facts.name), hop_to(step.blueprint, facts))


def _machine(step: Step, facts: InstanceFacts) -> Machine:
    return next(machine for machine in step.blueprint.plan.machines if machine.name == facts.name)
