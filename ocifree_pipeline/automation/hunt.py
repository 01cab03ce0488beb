"""The sensors that hunt for machines: a cheap question in the tick, a pure decision, and a run only when it may win.

A run asks for exactly the machines that are missing and for what hangs on them, so that the platform goes on by itself
once they are had. What Oracle answered is recorded as tenancy/a1_capacity, with numbers that the UI plots.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import dagster as dg
from pydantic import BaseModel, ValidationError

from ocifree_pipeline.assets.machines import upstreams
from ocifree_pipeline.automation.orphans import in_flight
from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.capacity import Accuracy, Capacity, Observation, accuracy
from ocifree_pipeline.deployment.errors import OcifreeError
from ocifree_pipeline.deployment.hunt import (
    DAY,
    Decision,
    HuntPlan,
    HuntState,
    Step,
    Wish,
    after_launches,
    calls_left,
    decide,
    released,
    told,
)
from ocifree_pipeline.deployment.plan import Machine
from ocifree_pipeline.record.facts import find_facts, materialize_command
from ocifree_pipeline.record.machines import CAPACITY, CapacityFacts, is_claimed, key_of, news_of
from ocifree_pipeline.record.standing import standing
from ocifree_pipeline.record.tenancy import LimitsFacts, PlanFacts, a1_domains

TICK_SECONDS = 30
ASK_SECONDS = 20.0
"""Dagster ends a tick after 60 seconds and forgets what it did; ours ends long before."""

_STATE = "hunt"
Kind = Literal["a1", "micro"]
Ask = Callable[[Blueprint, Sequence[Machine], Decision], Observation]


class Cursor(BaseModel, frozen=True, extra="forbid"):
    """What a sensor remembers between ticks."""

    state: HuntState = HuntState()
    read_to: int = 0


@dataclass(frozen=True, slots=True)
class Prey:
    """The machines of one kind, and the asset that the hunt for them is recorded at."""

    kind: Kind
    machines: tuple[Machine, ...]
    recorded_at: str

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(key_of(machine) for machine in self.machines)


def hunt_sensors(blueprint: Blueprint) -> list[dg.SensorDefinition]:
    found = [_sensor(blueprint, Prey("a1", blueprint.plan.ampere, CAPACITY), "Waits for Ampere capacity")]
    bastion = blueprint.plan.bastion
    if bastion is not None:
        found.append(_sensor(blueprint, Prey("micro", (bastion,), key_of(bastion)), "The same hunt for the Micro"))
    return found


def _sensor(blueprint: Blueprint, prey: Prey, describe: str) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"capacity_hunt_{prey.kind}",
        target=dg.AssetSelection.assets(*(key.split("/") for key in prey.keys)).downstream(),
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"{describe}, and requests what is missing and what hangs on it. Its ticks say how the hunt "
        "stands; tenancy/a1_capacity plots it.",
    )
    def hunt(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return tick(blueprint, prey, context, now=time.time(), ask=ask_oracle)

    return hunt


def tick(
    blueprint: Blueprint, prey: Prey, context: dg.SensorEvaluationContext, *, now: float, ask: Ask
) -> dg.SensorResult:
    """One look at the hunt. `ask` is what calls Oracle."""
    instance = context.instance
    missing_upstream = unarmed(blueprint, prey, instance)
    if missing_upstream:
        first = missing_upstream[0]
        return dg.SensorResult(
            skip_reason=f"not armed, not made yet: {', '.join(missing_upstream)}; `{materialize_command(first)}`",
            cursor=context.cursor,
        )
    busy = in_flight(instance, prey.keys)
    if busy is not None:
        does = "is requested again" if busy.is_finished else f"is {busy.status.value.lower()}"
        return dg.SensorResult(skip_reason=f"run {busy.run_id[:8]} {does} for these machines", cursor=context.cursor)
    cursor = _take_in(instance, prey, _cursor(instance, prey, context.cursor), now)
    claimed = _claimed(prey, instance)
    plan, wishes = _plan(blueprint, prey, instance), _wishes(prey, instance, claimed)
    decision = decide(cursor.state, now, None, plan, wishes)
    if decision.step is Step.ASK:
        decision = decide(decision.state, now, _answers(blueprint, prey, decision, ask, context), plan, wishes)
        _record(instance, prey, plan, decision, now)
    kept = cursor.model_copy(update={"state": decision.state}).model_dump_json()
    if decision.step is not Step.LAUNCH:
        return dg.SensorResult(skip_reason=decision.words + _claimed_words(claimed), cursor=kept)
    return dg.SensorResult(run_requests=[_request(prey, context, decision, instance)], cursor=kept)


# what stands ----------------------------------------------------------------------------------------------------------


def unarmed(blueprint: Blueprint, prey: Prey, instance: dg.DagsterInstance) -> tuple[str, ...]:
    """Upstreams that the machines cannot be launched without. The bastion is not one: A1 is claimed without it."""
    others = {CAPACITY, *(key_of(machine) for machine in blueprint.plan.machines)}
    keys = ["tenancy/limits", "tenancy/plan", *(key for m in prey.machines for key in upstreams(blueprint, m))]
    wanted = [key for key in dict.fromkeys(keys) if key not in others]
    made = _made(instance, wanted)
    return tuple(key for key in wanted if key not in made)


def _made(instance: dg.DagsterInstance, keys: Sequence[str]) -> set[str]:
    """Those that have been materialized, and neither destroyed nor lost since."""
    return {key.to_user_string() for key in standing(instance, [dg.AssetKey(key.split("/")) for key in keys])}


def _claimed(prey: Prey, instance: dg.DagsterInstance) -> list[str]:
    """Had from Oracle, and not heard of yet."""
    made = _made(instance, prey.keys)
    return [m.name for m in prey.machines if key_of(m) not in made and is_claimed(instance, m.name)]


def _wishes(prey: Prey, instance: dg.DagsterInstance, claimed: Sequence[str]) -> tuple[Wish, ...]:
    planned = find_facts(instance, "tenancy/plan", PlanFacts)
    homes = {one.name: one.availability_domain for one in planned.machines} if planned else {}
    made = _made(instance, prey.keys)
    return tuple(
        Wish(machine.name, made=key_of(machine) in made or machine.name in claimed, home=homes.get(machine.name))
        for machine in prey.machines
    )


def _claimed_words(waiting: Sequence[str]) -> str:
    if not waiting:
        return ""
    command = materialize_command(" or ".join(f"machines/{name}+" for name in waiting))
    return f"; {', '.join(waiting)} had and not heard of yet: `{command}`"


def _plan(blueprint: Blueprint, prey: Prey, instance: dg.DagsterInstance) -> HuntPlan:
    limits, planned = (
        find_facts(instance, "tenancy/limits", LimitsFacts),
        find_facts(instance, "tenancy/plan", PlanFacts),
    )
    ads = limits.availability_domains if limits else ()
    policy = blueprint.declaration.hunt
    if prey.kind == "micro":
        # Its limit is above zero in one domain only, and the plan has found that one.
        names = {machine.name for machine in prey.machines}
        homes = {one.availability_domain for one in planned.machines if one.name in names} if planned else set()
        policy = policy.model_copy(update={"availability_domains": None})
        ads = tuple(ad for ad in ads if ad in homes)
    plan = HuntPlan.of(f"{blueprint.declaration.name}/{prey.kind}", policy, ads)
    return replace(plan, ads=a1_domains(policy, limits)) if prey.kind == "a1" and limits else plan


# the cursor -----------------------------------------------------------------------------------------------------------


def _cursor(instance: dg.DagsterInstance, prey: Prey, text: str | None) -> Cursor:
    """As it was left. Without one (somebody has reset it), the record knows the calls that were made; and it knows
    more than the cursor when a tick died after it had asked."""
    state = _recorded_state(instance, prey)
    if text:
        try:
            kept = Cursor.model_validate_json(text)
        except ValidationError:
            kept = None  # written by another version; the record is as good
        if kept is not None:
            same_hunt = state is not None and state.started_at == kept.state.started_at
            if same_hunt and state is not None and state.rounds > kept.state.rounds:
                return kept.model_copy(update={"state": state})
            return kept
    return Cursor(state=released(state) if state else HuntState(), read_to=news_of(instance, _sources(prey)).to)


def _recorded_state(instance: dg.DagsterInstance, prey: Prey) -> HuntState | None:
    key = dg.AssetKey(prey.recorded_at.split("/"))
    if prey.kind == "a1":
        event = instance.get_latest_materialization_event(key)
        metadatas = [event.asset_materialization.metadata] if event and event.asset_materialization else []
    else:
        records = instance.fetch_observations(key, limit=50).records
        metadatas = [record.asset_observation.metadata for record in records if record.asset_observation]
    for metadata in metadatas:
        if _STATE in metadata:
            try:
                return HuntState.model_validate(metadata[_STATE].value)
            except ValidationError:
                return None
    return None


def _sources(prey: Prey) -> tuple[str, ...]:
    return tuple(dict.fromkeys([prey.recorded_at, *prey.keys]))


def _take_in(instance: dg.DagsterInstance, prey: Prey, cursor: Cursor, now: float) -> Cursor:
    news = news_of(instance, _sources(prey), cursor.read_to)
    state = after_launches(cursor.state, now, news.attempts)
    return Cursor(state=released(state) if news.resumed else state, read_to=news.to)


# asking ---------------------------------------------------------------------------------------------------------------


def ask_oracle(blueprint: Blueprint, machines: Sequence[Machine], decision: Decision) -> Observation:
    """The capacity report of every domain that is due, and the limits when their turn has come."""
    from ocifree_pipeline.systems.oci.capacity import Want, ask_everywhere, core_limits
    from ocifree_pipeline.systems.oci.session import session_for

    session = session_for(blueprint.declaration.site)
    wants = [Want(machine.shape, machine.ocpus, machine.memory_gb) for machine in machines]
    answers = ask_everywhere(session, decision.ads, wants, seconds=ASK_SECONDS)
    limits_are_zero = None
    if decision.look_at_limits and all(answer.trouble is None for answer in answers):
        limits = core_limits(session, machines[0].shape)
        limits_are_zero = bool(limits) and not any(limits.values())
    return Observation(answers, limits_are_zero)


def _answers(
    blueprint: Blueprint, prey: Prey, decision: Decision, ask: Ask, context: dg.SensorEvaluationContext
) -> Observation:
    from ocifree_pipeline.deployment.capacity import Answer
    from ocifree_pipeline.systems.oci.capacity import answer_of

    try:
        return ask(blueprint, prey.machines, decision)
    except OcifreeError as error:
        return Observation(tuple(answer_of(ad, error) for ad in decision.ads))
    except Exception as error:
        # A fault of ours must not lose the cursor: the calls of this round would be forgotten, and made again at once.
        context.log.exception("asking Oracle failed inside ocifree")
        words = f"unknown: a fault of ocifree ({type(error).__name__}); the log of the sensor has it"
        return Observation(tuple(Answer(ad, Capacity.UNKNOWN, words) for ad in decision.ads))


# the record -----------------------------------------------------------------------------------------------------------


def _record(instance: dg.DagsterInstance, prey: Prey, plan: HuntPlan, decision: Decision, now: float) -> None:
    """The heartbeat: what was answered, and how the hunt stands, in numbers that are plotted."""
    state, launching = decision.state, decision.step is Step.LAUNCH
    facts = CapacityFacts(
        seen=state.seen,
        asked_at=now,
        request=state.requests if launching else 0,
        machines=decision.launch,
        places=tuple((place.ad, place.fd) for place in decision.places),
        tries=decision.tries,
    )
    measured = accuracy(news_of(instance, prey.keys).attempts, state.answers)
    metadata = {
        "summary": dg.MetadataValue.text(decision.words if launching else told(state, now, plan)),
        "facts": dg.MetadataValue.json(facts.model_dump(mode="json")),
        _STATE: dg.MetadataValue.json(state.model_dump(mode="json")),
        **_numbers(state, now, plan, measured),
    }
    if prey.kind == "a1":
        version = hashlib.sha256(repr(sorted(state.seen.items())).encode()).hexdigest()[:16]
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                asset_key=prey.recorded_at.split("/"), metadata=metadata, tags={"dagster/data_version": version}
            )
        )
    else:
        instance.report_runless_asset_event(
            dg.AssetObservation(asset_key=prey.recorded_at.split("/"), metadata=metadata)
        )


def _numbers(state: HuntState, now: float, plan: HuntPlan, measured: Accuracy) -> Mapping[str, Any]:
    plotted = {Capacity.AVAILABLE: 1, Capacity.UNAVAILABLE: 0, Capacity.UNKNOWN: -1}
    numbers: dict[str, float | None] = {
        "times asked": state.rounds,
        "launches tried": state.launches,
        "calls left today": calls_left(state, now, plan),
        "days of hunting": round((now - (state.started_at or now)) / DAY, 3),
        "pace": round(state.rate, 3),
        "report precision": measured.precision,
        "report recall": measured.recall,
        "launches after yes": measured.launches_on_yes,
        "launches after no": measured.launches_on_no,
        **{f"available {ad.rpartition(':')[2]}": plotted[capacity] for ad, capacity in state.seen.items()},
    }
    return {
        name: dg.MetadataValue.int(number) if isinstance(number, int) else dg.MetadataValue.float(number)
        for name, number in numbers.items()
        if number is not None
    }


def _request(
    prey: Prey, context: dg.SensorEvaluationContext, decision: Decision, instance: dg.DagsterInstance
) -> dg.RunRequest:
    """The missing machines and what hangs on them. A Micro brings the A1 machines along that wait for their way."""
    roots = [f"machines/{name}" for name in decision.launch]
    graph = context.repository_def.asset_graph if context.repository_def else None
    keys = {dg.AssetKey(root.split("/")) for root in roots}
    if graph is not None:
        below = _below(graph, keys)
        if prey.kind == "micro":
            ampere = {key for key in below if key.path[0] == "machines" and key not in keys}
            idle = {key for key in ampere if not is_claimed(instance, key.path[-1])}
            below -= idle | _below(graph, idle)
        keys |= below
    state = decision.state
    return dg.RunRequest(
        # Dagster remembers a key for ever, also when its run failed; so each request has its own.
        run_key=f"hunt-{prey.kind}-{int(state.started_at or 0)}-{state.requests}",
        asset_selection=sorted(keys, key=lambda key: tuple(key.path)),
        tags={"ocifree/hunt": prey.kind, "ocifree/request": str(state.requests), "ocifree/why": decision.words[:250]},
    )


def _below(graph: Any, keys: set[dg.AssetKey]) -> set[dg.AssetKey]:
    if not keys:
        return set()
    selection = dg.AssetSelection.assets(*keys).downstream() & dg.AssetSelection.all()
    materializable = set(graph.materializable_asset_keys)
    return {key for key in selection.resolve(graph) if key in materializable} - keys
