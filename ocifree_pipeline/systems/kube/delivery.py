"""Put the objects of one part on the cluster: compare, apply what differs, remove what we no longer declare.

    plan = plan_for(api, "gateway", objects)
    apply(api, plan, say)
    wait_until_ready(api, objects, say)

A second run finds nothing that differs and makes no writing call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.kube import inventory
from ocifree_pipeline.systems.kube.api import MANAGER, Api, Resource
from ocifree_pipeline.systems.kube.differences import differences
from ocifree_pipeline.systems.kube.objects import DEFINITION, Object, Ref, at, is_of, labelled, ordered, ref_of
from ocifree_pipeline.systems.kube.readiness import State, state_of, tells
from ocifree_pipeline.systems.oci.waiting import Clock, Pause, TimedOut, wait_for

DEFINITION_SECONDS = 60.0
READY_SECONDS = 900.0
FIELDS_SHOWN = 5

_KEPT = frozenset({"Namespace", "CustomResourceDefinition", "PersistentVolumeClaim", "PersistentVolume"})
"""Removing one of these removes what others have put into it."""

_REQUESTED, _RESET = "reconcile.fluxcd.io/requestedAt", "reconcile.fluxcd.io/resetAt"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Change:
    """One writing call. `fields` are the paths that differ, never what stands there."""

    verb: Literal["create", "change", "remove"]
    ref: Ref
    fields: tuple[str, ...] = ()
    uid: str = ""
    api_version: str = ""

    def __str__(self) -> str:
        shown = ", ".join(self.fields[:FIELDS_SHOWN])
        more = f" and {len(self.fields) - FIELDS_SHOWN} more" if len(self.fields) > FIELDS_SHOWN else ""
        return f"{self.verb} {self.ref}" + (f": {shown}{more}" if shown else "")


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to be done, in its order. `left` is what we would remove if it were not for what others keep in it."""

    part: str
    objects: tuple[Object, ...]
    changes: tuple[Change, ...]
    recorded: inventory.Entries
    left: tuple[Ref, ...]

    @property
    def declared(self) -> inventory.Entries:
        return inventory.entries_of((ref_of(thing), thing) for thing in self.objects)

    @property
    def is_noop(self) -> bool:
        return not self.changes and self.recorded == self.to_record()

    @property
    def lines(self) -> tuple[str, ...]:
        kept = tuple(f"left as it is: {ref}; remove it by hand if nothing in it is needed" for ref in self.left)
        return (*map(str, self.changes), *kept)

    def to_record(self) -> inventory.Entries:
        return {**{ref: self.recorded[ref] for ref in self.left}, **self.declared}


def plan_for(api: Api, part: str, objects: Iterable[Object]) -> Plan:
    """Reads and rehearses; changes nothing."""
    wanted = tuple(labelled(thing, part) for thing in ordered(objects))
    recorded = inventory.read(api, part)
    brought = {(at(thing, "spec.group"), at(thing, "spec.names.kind")) for thing in wanted if is_of(thing, DEFINITION)}
    changes = [change for thing in wanted if (change := _compared(api, thing, brought)) is not None]
    declared = {ref_of(thing) for thing in wanted}
    left: list[Ref] = []
    for ref in sorted(recorded.keys() - declared, reverse=True):
        uid = _uid_of_ours(api, ref, recorded[ref])
        if uid is None:
            continue
        if ref.kind in _KEPT:
            left.append(ref)
        else:
            changes.append(Change("remove", ref, uid=uid, api_version=recorded[ref]))
    return Plan(part, wanted, tuple(changes), recorded, tuple(left))


def apply(api: Api, plan: Plan, say: Say, *, clock: Clock = time) -> None:
    """Everything in the plan, one call at a time. Broken off anywhere, the next plan goes on from there."""
    if plan.is_noop:
        return
    both = {**plan.recorded, **plan.declared}
    if both != plan.recorded:
        inventory.write(api, plan.part, both)
    things = {ref_of(thing): thing for thing in plan.objects}
    for change in plan.changes:
        say(str(change))
        if change.verb == "remove":
            api.delete(api.require(change.api_version, change.ref.kind), change.ref, change.uid)
            continue
        thing = things[change.ref]
        api.apply(_resource(api, thing), thing)
        if is_of(thing, DEFINITION):
            # Objects of the kind that it brings can come only when the server has taken it in.
            wait_until_ready(api, [thing], say, timeout=DEFINITION_SECONDS, clock=clock)
    if plan.to_record() != both:
        inventory.write(api, plan.part, plan.to_record())


def wait_until_ready(
    api: Api,
    objects: Sequence[Object],
    say: Say,
    *,
    timeout: float = READY_SECONDS,
    clock: Clock = time,
) -> None:
    """Until each says that it works; NotVerified with the controller's words when one says that it never will.

    Read again and again rather than watched: a watch that breaks would have to be noticed, a reading cannot be missed.
    """
    waiting = [(_resource(api, thing), ref_of(thing)) for thing in objects if tells(thing)]
    if not waiting:
        return
    told = ""

    def look() -> _Standing:
        nonlocal waiting, told
        states = [(resource, ref, _standing(api, resource, ref)) for resource, ref in waiting]
        waiting = [(resource, ref) for resource, ref, state in states if state.verdict != "ready"]
        standing = _Standing(tuple((ref, state) for _, ref, state in states if state.verdict != "ready"))
        if standing.open and str(standing) != told:
            told = str(standing)
            say(f"wait: {told}")
        return standing

    try:
        wait_for(
            look,
            lambda standing: not standing.open,
            failed=lambda standing: standing.failure,
            what=_named(waiting),
            timeout=timeout,
            pause=Pause(1, 10),
            clock=clock,
        )
    except TimedOut as error:
        # Not Transient: trying again at once would be the same wait twice more before anybody learns of it.
        raise NotVerified(
            f"waited {timeout:.0f} s until {_named(waiting)}, in vain",
            why=told or error.why,
            fix="`kubectl describe` tells more; materializing the asset again looks at once, and has Flux do so",
        ) from error


def states_of(api: Api, objects: Sequence[Object]) -> dict[Ref, State]:
    """How each stands at this moment."""
    return {ref_of(thing): _standing(api, _resource(api, thing), ref_of(thing)) for thing in objects}


def ask_again(api: Api, objects: Sequence[Object], moment: str) -> list[str]:
    """Have Flux try at once what failed before, instead of in some minutes or never; what was asked, in words."""
    asked = []
    for thing in objects:
        if not str(thing["apiVersion"]).partition("/")[0].endswith("fluxcd.io"):
            continue
        resource, ref = _resource(api, thing), ref_of(thing)
        live = api.get(resource, ref)
        if live is None or not _has_failed(live):
            continue
        notes = {_REQUESTED: moment} | ({_RESET: moment} if ref.kind == "HelmRelease" else {})
        api.annotate(resource, ref, notes)
        asked.append(f"ask Flux to try {ref} again: {state_of(live).message}")
    return asked


@dataclass(frozen=True, slots=True)
class _Standing:
    """What does not work yet."""

    open: tuple[tuple[Ref, State], ...]

    def __str__(self) -> str:
        (ref, state), *others = self.open
        return f"{ref}: {state.message}" + (f" (and {len(others)} more)" if others else "")

    @property
    def failure(self) -> str | None:
        return next((f"{ref}: {state.message}" for ref, state in self.open if state.verdict == "failed"), None)


def _named(waiting: Sequence[tuple[Resource, Ref]]) -> str:
    first = str(waiting[0][1])
    return f"{first} works" if len(waiting) == 1 else f"{first} and {len(waiting) - 1} more work"


def _standing(api: Api, resource: Resource, ref: Ref) -> State:
    live = api.get(resource, ref)
    return state_of(live) if live is not None else State("waiting", "it is not there")


def _compared(api: Api, thing: Object, brought: set[tuple[object, object]]) -> Change | None:
    ref = ref_of(thing)
    resource = api.resource(str(thing["apiVersion"]), ref.kind)
    if resource is None and (ref.group, ref.kind) in brought:
        return Change("create", ref)
    resource = resource or api.require(str(thing["apiVersion"]), ref.kind)
    live = api.get(resource, ref)
    if live is None:
        return Change("create", ref)
    fields = differences(live, api.rehearse(resource, thing))
    return Change("change", ref, fields) if fields else None


def _uid_of_ours(api: Api, ref: Ref, api_version: str) -> str | None:
    """None when it is gone, or when we no longer manage any of it: then it has become somebody else's."""
    resource = api.resource(api_version, ref.kind)
    live = api.get(resource, ref) if resource else None
    if live is None or at(live, "metadata.deletionTimestamp"):
        return None
    managers = {entry.get("manager") for entry in at(live, "metadata.managedFields") or ()}
    return str(at(live, "metadata.uid")) if MANAGER in managers else None


def _resource(api: Api, thing: Object) -> Resource:
    return api.require(str(thing["apiVersion"]), str(thing["kind"]))


def _has_failed(live: Object) -> bool:
    conditions = at(live, "status.conditions") or ()
    ready = any(one.get("type") == "Ready" and one.get("status") == "False" for one in conditions)
    return ready or state_of(live).verdict == "failed"
