"""The sensor instance_watch: looks after the machines that were claimed, and asks for what follows when one is lost.

A machine that ended is written down as lost; the hunt then looks for another, and its run makes again what hangs on
it. One that came back has what hangs on it looked after at once. A machine that exists is never started, stopped or
replaced from here: a start can fail for lack of capacity, and a silent guest may still hold somebody's data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

import dagster as dg
from pydantic import BaseModel, ValidationError

from ocifree_pipeline.automation.orphans import in_flight
from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.errors import OcifreeError
from ocifree_pipeline.deployment.watching import Seen, Turn, Watched, look
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.foundation import GUARDRAILS, scope_of
from ocifree_pipeline.record.machines import InstanceFacts, dialer_for, held, hop_to, key_of
from ocifree_pipeline.record.watched import note_turn

NAME = "instance_watch"
SECONDS = 300
KNOCK_SECONDS = 35.0
"""Dagster ends a tick after 60 seconds, and Oracle is asked before anybody knocks."""


class Cursor(BaseModel, frozen=True, extra="forbid"):
    machines: dict[str, Watched] = {}
    repairs: int = 0


@dataclass(frozen=True, slots=True)
class Sight:
    """One look at one machine."""

    seen: Seen
    words: str


Looking = Callable[[Step, Mapping[str, InstanceFacts]], Mapping[str, Sight]]


def instance_watch(blueprint: Blueprint) -> dg.SensorDefinition:
    keys = [["machines", machine.name] for machine in blueprint.plan.machines]

    @dg.sensor(
        name=NAME,
        target=dg.AssetSelection.assets(*keys).downstream() | dg.AssetSelection.assets(GUARDRAILS.split("/")),
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Looks after claimed machines. One that Oracle took back is hunted for again, with all that hangs "
        "on it; one that came back has what hangs on it looked after. What exists is never replaced.",
    )
    def watch(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return tick(blueprint, context, see=look_at_oracle)

    return watch


def tick(blueprint: Blueprint, context: dg.SensorEvaluationContext, *, see: Looking) -> dg.SensorResult:
    instance, cursor = context.instance, _cursor(context.cursor)
    busy = in_flight(instance, [key_of(machine) for machine in blueprint.plan.machines])
    if busy is not None:
        return dg.SensorResult(skip_reason=f"run {busy.run_id[:8]} works on the machines", cursor=context.cursor)
    claimed = {
        machine.name: facts
        for machine in blueprint.plan.machines
        if (facts := held(instance, machine.name)) is not None
    }
    if not claimed:
        return dg.SensorResult(skip_reason="no machine has been claimed yet", cursor=context.cursor)
    sights = see(Step(blueprint, f"sensor {NAME}", instance, context.log.info), claimed)
    machines: dict[str, Watched] = {}
    back: list[str] = []
    lost: list[str] = []
    for name, facts in claimed.items():
        known = cursor.machines.get(name)
        before = known if known is not None and known.ocid == facts.ocid else Watched(ocid=facts.ocid)
        machines[name], turn = look(before, sights[name].seen)
        if turn is not None:
            note_turn(instance, name, turn, _words(name, turn, sights[name].words))
        if turn is Turn.BACK:
            back.append(name)
        if turn is Turn.LOST:
            lost.append(name)
    said = "; ".join(f"{name}: {sights[name].words}" for name in claimed)
    if not back and not lost:
        return dg.SensorResult(
            skip_reason=said, cursor=cursor.model_copy(update={"machines": machines}).model_dump_json()
        )
    kept = Cursor(machines=machines, repairs=cursor.repairs + 1)
    requests = [_make_room(lost, kept.repairs)] if lost else []
    requests += [_repair(context, back, kept.repairs)] if back else []
    return dg.SensorResult(run_requests=requests, cursor=kept.model_dump_json())


def _words(name: str, turn: Turn, seen: str) -> str:
    match turn:
        case Turn.LOST:
            return f"{name} is lost: {seen}. The hunt looks for another; its disk, if one is left, is not touched"
        case Turn.STOPPED:
            return f"{name} is stopped: {seen}"
        case Turn.SILENT:
            return f"{name} does not answer: {seen}"
        case Turn.BACK:
            return f"{name} is back: {seen}"


def _make_room(names: list[str], number: int) -> dg.RunRequest:
    """The quota gave storage to the domain where the machine was; the next one may be found in another."""
    return dg.RunRequest(
        run_key=f"room-{int(time.time())}-{number}",
        asset_selection=[dg.AssetKey(GUARDRAILS.split("/"))],
        tags={"ocifree/why": f"room for another {', '.join(names)} wherever it is found"},
    )


def _repair(context: dg.SensorEvaluationContext, names: list[str], number: int) -> dg.RunRequest:
    """The machines that are back, read again, and what hangs on them and was made before."""
    keys = {dg.AssetKey(["machines", name]) for name in names}
    graph = context.repository_def.asset_graph if context.repository_def else None
    if graph is not None:
        below = (dg.AssetSelection.assets(*keys).downstream() & dg.AssetSelection.all()).resolve(graph)
        other_machines = {key for key in below if key.path[0] == "machines"} - keys
        made = {
            key for key in below & set(graph.materializable_asset_keys)
            if context.instance.get_latest_materialization_event(key) is not None
        }  # fmt: skip
        keys |= made - other_machines
    return dg.RunRequest(
        run_key=f"repair-{int(time.time())}-{number}",
        asset_selection=sorted(keys, key=lambda key: tuple(key.path)),
        tags={"ocifree/why": f"{', '.join(names)} came back", "ocifree/repair": str(number)},
    )


def _cursor(text: str | None) -> Cursor:
    try:
        return Cursor.model_validate_json(text) if text else Cursor()
    except ValidationError:
        return Cursor()  # written by another version: it begins to count anew


# looking --------------------------------------------------------------------------------------------------------------


def look_at_oracle(step: Step, claimed: Mapping[str, InstanceFacts]) -> Mapping[str, Sight]:
    """Oracle's list first; then a knock at every machine that runs, all at the same time."""
    try:
        states = _lifecycles(step, claimed)
    except OcifreeError as error:
        return dict.fromkeys(claimed, Sight(Seen.UNKNOWN, f"Oracle could not be asked: {error.what}"))
    found = {name: sight for name, state in states.items() if (sight := _of_lifecycle(state)) is not None}
    running = [name for name in claimed if name not in found]
    found |= _knock(step, {name: claimed[name] for name in running})
    return found | _behind_a_silent_bastion(step, found)


def _behind_a_silent_bastion(step: Step, found: Mapping[str, Sight]) -> dict[str, Sight]:
    """Whoever stands behind a bastion that does not answer, cannot be heard; that says nothing about them."""
    bastion = step.blueprint.plan.bastion
    if bastion is None or step.blueprint.declaration.ssh_via != "bastion":
        return {}
    if bastion.name not in found or found[bastion.name].seen is Seen.ANSWERS:
        return {}
    unseen = Sight(Seen.UNKNOWN, f"cannot be seen: {bastion.name} is the way to it")
    return {name: unseen for name, sight in found.items() if name != bastion.name and sight.seen is Seen.SILENT}


def _lifecycles(step: Step, claimed: Mapping[str, InstanceFacts]) -> dict[str, str | None]:
    """What Oracle says of each; None when it does not exist any more, which is asked for by its name as well."""
    from ocifree_pipeline.systems.oci.instances import lifecycle_of, lifecycles

    scope = scope_of(step)
    listed = lifecycles(scope)
    return {
        name: listed[facts.ocid] if facts.ocid in listed else lifecycle_of(scope.session, facts.ocid)
        for name, facts in claimed.items()
    }


def _of_lifecycle(state: str | None) -> Sight | None:
    """None for an instance that runs, or is about to: whether it lives, only its guest can tell."""
    if state is None or state in ("TERMINATED", "TERMINATING"):
        return Sight(Seen.GONE, "Oracle has ended it" if state else "Oracle does not know it any more")
    if state in ("STOPPED", "STOPPING"):
        return Sight(Seen.STOPPED, f"Oracle says {state}; if nobody stopped it, Oracle took it back as idle")
    return None


def _knock(step: Step, running: Mapping[str, InstanceFacts]) -> dict[str, Sight]:
    from ocifree_pipeline.systems.guests import greet

    def knock(facts: InstanceFacts) -> Sight:
        try:
            greet(facts.answers, dialer_for(step, facts.name), hop_to(step.blueprint, facts))
        except OcifreeError as error:
            return Sight(Seen.SILENT, f"Oracle says RUNNING, and {error.what}")
        return Sight(Seen.ANSWERS, "answers")

    if not running:
        return {}
    pool = ThreadPoolExecutor(len(running), thread_name_prefix="knock")
    asked = {name: pool.submit(knock, facts) for name, facts in running.items()}
    wait(asked.values(), timeout=KNOCK_SECONDS)
    pool.shutdown(wait=False, cancel_futures=True)
    late = Sight(Seen.SILENT, f"Oracle says RUNNING, and it said nothing within {KNOCK_SECONDS:g} s")
    return {name: one.result() if one.done() and not one.cancelled() else late for name, one in asked.items()}
