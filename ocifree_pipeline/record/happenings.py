"""Follow one run through Dagster's event log, whoever started it: a line for each thing worth knowing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.events import JobFailureData

from ocifree_pipeline.record.facts import materialize_command

if TYPE_CHECKING:
    from dagster_shared.error import SerializableErrorInfo

INTERRUPTED = "interrupted"
"""How to react to the end of a process: as an error has its reaction."""

THE_RUN = "the run"
"""What failed when no asset did."""

_PROCESS_ENDED = {"DagsterExecutionInterruptedError", "ChildProcessCrashException"}

FINISHED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}


@dataclass(frozen=True, slots=True)
class Happening:
    """What happened (`kind` names it as `watch` shows it), to which asset or check, and in which words."""

    kind: str
    subject: str
    text: str
    at: float
    details: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def happenings(
    instance: dg.DagsterInstance,
    run_id: str,
    *,
    pause: Callable[[float], None] = time.sleep,
    talk: bool = False,
    lives: Callable[[], bool] = lambda: True,
) -> Iterator[Happening]:
    """Everything that happened and happens in the run, until it has ended; with `talk` also what assets say.

    A run whose process no longer `lives` may not have been able to say that it ended.
    """
    cursor: str | None = None
    names: dict[str, str] = {}
    while True:
        alone = not lives()
        run = instance.get_run_by_id(run_id)
        ended = alone or run is None or run.status in FINISHED
        while True:
            connection = instance.get_records_for_run(run_id, cursor=cursor, limit=500, ascending=True)
            cursor = connection.cursor
            for record in connection.records:
                _learn(names, record.event_log_entry.dagster_event)
                found = _happening(record.event_log_entry, names, talk)
                if found:
                    yield found
            if not connection.has_more:
                break
        if ended:
            return
        pause(0.5)


def _learn(names: dict[str, str], event: dg.DagsterEvent | None) -> None:
    """What is planned comes first and tells which step stands for which asset or check."""
    if event is None or event.step_key is None:
        return
    if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED and event.asset_key:
        names[event.step_key] = event.asset_key.to_user_string()
    if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
        planned = event.asset_check_planned_data
        names.setdefault(event.step_key, f"{planned.asset_key.to_user_string()}:{planned.check_name}")


def _happening(entry: dg.EventLogEntry, names: dict[str, str], talk: bool) -> Happening | None:
    event = entry.dagster_event
    if event is None:
        # An asset sums itself up when it is made; work that makes none has only what it says on its way.
        step = entry.step_key
        if step is None or int(entry.level) < logging.INFO or (step in names and not talk):
            return None
        return Happening("said", names.get(step, step), entry.user_message, entry.timestamp)
    subject = names.get(event.step_key or "", event.step_key or "")
    if event.event_type is dg.DagsterEventType.STEP_START and ":" not in subject:
        return Happening("started", subject, "", entry.timestamp)
    if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION and event.asset_key:
        metadata = event.step_materialization_data.materialization.metadata
        values = {name: value.value for name, value in metadata.items() if hasattr(value, "value")}
        return Happening(
            "made",
            event.asset_key.to_user_string(),
            str(values.get("summary", "")),
            entry.timestamp,
            {"seconds": values.get("seconds"), "plan": values.get("plan")},
        )
    if event.event_type is dg.DagsterEventType.STEP_UP_FOR_RETRY:
        return Happening("retry", subject, "will be tried again", entry.timestamp)
    if event.event_type is dg.DagsterEventType.STEP_FAILURE:
        return _failure(event, subject, entry.timestamp)
    if event.event_type is dg.DagsterEventType.RUN_FAILURE:
        ended = event.event_specific_data
        if not isinstance(ended, JobFailureData) or ended.error is None or ended.first_step_failure_event is not None:
            return None
        return _unexpected(ended.error, THE_RUN, entry.timestamp)
    if event.event_type is dg.DagsterEventType.STEP_SKIPPED:
        return Happening("skipped", subject, "", entry.timestamp)
    if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        data = event.asset_check_evaluation_data
        is_warning = data.severity is dg.AssetCheckSeverity.WARN
        kind = "check_passed" if data.passed else "check_warned" if is_warning else "check_failed"
        return Happening(
            kind, f"{data.asset_key.to_user_string()}:{data.check_name}", data.description or "", entry.timestamp
        )
    return None


def _failure(event: dg.DagsterEvent, subject: str, at: float) -> Happening:
    data = event.step_failure_data
    told = data.user_failure_data
    if told is not None:
        details = {name: getattr(value, "value", None) for name, value in told.metadata.items()}
        return Happening("failed", subject, told.description or "", at, details)
    return _unexpected(data.error, subject, at)


def _unexpected(cause: SerializableErrorInfo | None, subject: str, at: float) -> Happening:
    while cause is not None and cause.cause is not None:
        cause = cause.cause
    name, text = (cause.cls_name, cause.message.strip()) if cause else (None, "it ended without a word")
    return Happening("failed", subject, text, at, {"error": name, **_own_words(subject, str(name), text)})


def _own_words(subject: str, name: str, text: str) -> dict[str, str]:
    """What to say of a failure that is none of our errors: the process ended, or ocifree has a fault."""
    asset = subject.partition(":")[0]
    again, logs = (
        (materialize_command(f"{asset}+"), f"ocifree logs {asset}") if "/" in asset else ("ocifree up", "ocifree logs")
    )
    if name in _PROCESS_ENDED:
        return {
            "what": "its process was ended while it worked",
            "why": "somebody or something killed it: a signal, a restart, or memory that ran out",
            "fix": "nothing: what it had made is found as it is",
            "again": again,
            "reaction": INTERRUPTED,
        }
    return {
        "what": text.splitlines()[0] if text else name,
        "why": f"{name}, which ocifree does not expect here",
        "fix": f"`{logs}` shows where; if it comes again, it is a fault of ocifree",
        "again": again,
    }
