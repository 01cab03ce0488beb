"""The sensors that tell people: one of runs that failed, one of how things stand. They read the record and send."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import dagster as dg
from pydantic import BaseModel, ValidationError

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.notices import Event, Ledger, Notice, due, forget_past, known, take_in, tried
from ocifree_pipeline.record.news import current, failure
from ocifree_pipeline.systems.notify.rendering import Message, render
from ocifree_pipeline.systems.notify.sending import Told, targets_of, tell

FAILURE, NEWS = "notify_failure", "notify_news"
FAILURE_SECONDS, NEWS_SECONDS = 30, 60
RUNS_A_TICK = 20
SEND_SECONDS = 35.0
"""Dagster ends a tick after 60 seconds and forgets what it did; ours ends long before."""
NOBODY = "nobody is to be told: `notify` in the declaration names no one"

Send = Callable[[Iterable[str], Message, Event], tuple[Told, ...]]


class Cursor(BaseModel, frozen=True, extra="forbid"):
    ledger: Ledger = Ledger()
    read_to: int = 0


def notify_sensors(blueprint: Blueprint) -> list[dg.SensorDefinition]:
    @dg.sensor(
        name=FAILURE,
        minimum_interval_seconds=FAILURE_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells a person which asset failed, why, whether trying again helps, and what to type.",
    )
    def on_failure(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return failures_tick(blueprint, context, now=time.time(), send=sender(blueprint))

    @dg.sensor(
        name=NEWS,
        minimum_interval_seconds=NEWS_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells a person of capacity, claims, charges, lost machines, drift, changed limits, idle machines "
        "and certificates, and once a day how the hunt stands. Each once, and few in an hour.",
    )
    def on_news(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return news_tick(blueprint, context, now=time.time(), send=sender(blueprint))

    return [on_failure, on_news]


def sender(blueprint: Blueprint) -> Send:
    from ocifree_pipeline.systems.secrets.vault import vault_of

    targets = targets_of(blueprint.declaration.notify)
    vault = vault_of(blueprint.declaration.name)

    def send(names: Iterable[str], message: Message, event: Event) -> tuple[Told, ...]:
        wanted = set(names)
        return tell([target for target in targets if target.name in wanted], vault, message, event)

    return send


def failures_tick(
    blueprint: Blueprint, context: dg.SensorEvaluationContext, *, now: float, send: Send
) -> dg.SensorResult:
    cursor, names = _cursor(context.cursor), _names(blueprint)
    if not names:
        return dg.SensorResult(skip_reason=NOBODY, cursor=context.cursor)
    if cursor is None:
        return dg.SensorResult(
            skip_reason="from now on failures are told",
            cursor=Cursor(read_to=_newest(context.instance)).model_dump_json(),
        )
    wanted = dg.RunStatusChangeRecordsFilter(
        event_type=dg.DagsterEventType.RUN_FAILURE, after_storage_id=cursor.read_to or None
    )
    records = context.instance.fetch_run_status_changes(wanted, limit=RUNS_A_TICK, ascending=True).records
    notices = []
    for record in records:
        run = context.instance.get_run_by_id(record.event_log_entry.run_id)
        notice = failure(context.instance, run, _last_word(record)) if run else None
        notices += [notice] if notice else []
    ledger = take_in(cursor.ledger, notices, now)
    ledger, words = deliver(blueprint, ledger, names, now, send)
    read_to = max([cursor.read_to, *(record.storage_id for record in records)])
    return dg.SensorResult(skip_reason=words, cursor=Cursor(ledger=ledger, read_to=read_to).model_dump_json())


def news_tick(blueprint: Blueprint, context: dg.SensorEvaluationContext, *, now: float, send: Send) -> dg.SensorResult:
    cursor, names = _cursor(context.cursor), _names(blueprint)
    if not names:
        return dg.SensorResult(skip_reason=NOBODY, cursor=context.cursor)
    graph = context.repository_def.asset_graph if context.repository_def else None
    checks = graph.asset_check_keys if graph else set()
    below = {machine.name: _groups_below(graph, machine.name) for machine in blueprint.plan.machines} if graph else {}
    notices = current(context.instance, blueprint, checks, below, now)
    ledger = cursor.ledger if cursor else _first(notices, now)
    ledger = take_in(forget_past(ledger, notices), notices, now)
    ledger, words = deliver(blueprint, ledger, names, now, send)
    return dg.SensorResult(skip_reason=words, cursor=Cursor(ledger=ledger).model_dump_json())


def deliver(blueprint: Blueprint, ledger: Ledger, names: tuple[str, ...], now: float, send: Send) -> tuple[Ledger, str]:
    """Send what is due, one after the other. What could not be sent waits in the ledger."""
    began, said = time.monotonic(), []
    for one in due(ledger, now):
        if time.monotonic() - began > SEND_SECONDS:
            break
        wanted = tuple(name for name in (one.to if one.to is not None else names) if name in names)
        told = send(wanted, render(one.notice, blueprint.declaration.name, ledger.left_out), one.notice.event)
        missed = tuple(answer.target for answer in told if answer.error is not None)
        ledger = tried(ledger, one, missed, now, heard=len(missed) < len(told))
        said.append(f"{one.notice.event.value}: told {len(told) - len(missed)} of {len(told)}")
        said += [f"{answer.error.what}: {answer.error.why}" for answer in told if answer.error is not None]
    if ledger.waiting:
        said.append(f"{len(ledger.waiting)} wait")
    return ledger, "; ".join(said) or "no news"


def _first(notices: Iterable[Notice], now: float) -> Ledger:
    """What changed before anybody wanted to be told is no news; what is wrong now still is."""
    return known(Ledger(), [one for one in notices if one.event is Event.LIMITS], now)


def _names(blueprint: Blueprint) -> tuple[str, ...]:
    return tuple(target.name for target in targets_of(blueprint.declaration.notify))


def _newest(instance: dg.DagsterInstance) -> int:
    found = instance.fetch_run_status_changes(dg.DagsterEventType.RUN_FAILURE, limit=1).records
    return found[0].storage_id if found else 0


def _last_word(record: dg.EventLogRecord) -> str:
    event = record.event_log_entry.dagster_event
    return (event.message if event else None) or record.event_log_entry.user_message


def _groups_below(graph: Any, machine: str) -> tuple[str, ...]:
    key = dg.AssetKey(["machines", machine])
    below = (dg.AssetSelection.assets(key).downstream() & dg.AssetSelection.all()).resolve(graph) - {key}
    return tuple(sorted({str(graph.get(one).group_name) for one in below}))


def _cursor(text: str | None) -> Cursor | None:
    try:
        return Cursor.model_validate_json(text) if text else None
    except ValidationError:
        return None  # written by another version
