"""Runs whose process is gone. After a power cut Dagster would wait for them for ever, and so would its queue.

Dagster's run monitoring cannot see this: the default run launcher has no worker health check, a killed run stays
STARTED and keeps its pool slots. Both executors write the process id of the run worker into the event log, so nothing
has to be stamped: a run is an orphan when that process does not exist, or was started after the event was written
(the id was given out again), or when the machine was booted after it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import dagster as dg

TAKEN_UP = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
"""QUEUED is not here: a queued run has no process yet, and the daemon takes it up after a restart."""

UNFINISHED = (*TAKEN_UP, dg.DagsterRunStatus.QUEUED)
"""Dagster's own "in progress" leaves out runs that wait in the queue."""

START_GRACE_SECONDS = 600
TIMES, MOST_TIMES = "ocifree/taken_up_again", 3
AGAIN, WAITS, DONE = "ocifree/again", "waits", "done"
"""On a released run whose assets are to be requested again."""

_MAKES_NOTHING = ("verify",)
CLOCK_SLACK_SECONDS = 5
BEAT_SECONDS = 120
"""A daemon that lives says so every 30 seconds."""

_WORKER = re.compile(r"(?:Started process for run|in process|parent process) \(pid: (\d+)\)")


@dataclass(frozen=True, slots=True)
class Worker:
    """The process that last said it works on a run, and when it said so."""

    pid: int
    said_at: float


def _offset() -> float:
    """What the clock shows, less the time since the machine was booted: another one once somebody has set the clock."""
    return time.time() - time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


_OFFSET = _offset()

StartOf = Callable[[int], float | None]
"""When the process of that id was started; None if there is no such process."""


def judge(
    worker: Worker | None, created_at: float, now: float, booted_at: float, start_of: StartOf, *, set_on: float = 0.0
) -> str | None:
    """Why this run is an orphan, or None while it may be alive. Pure.

    `set_on` is by how much the clock was set on while somebody looked: booting and starting have moved with it, and
    what was said before has not.
    """
    if worker is None:
        if created_at + set_on < booted_at:
            return "the machine was booted after the run was created, and no process ever took it up"
        if now - created_at > START_GRACE_SECONDS:
            return f"no process took it up within {START_GRACE_SECONDS // 60} minutes"
        return None
    said_at = worker.said_at + set_on
    if said_at < booted_at - CLOCK_SLACK_SECONDS:
        return f"its process {worker.pid} ended when the machine was booted"
    started = start_of(worker.pid)
    if started is None:
        return f"its process {worker.pid} does not exist any more"
    if started > said_at + CLOCK_SLACK_SECONDS:
        return f"its process {worker.pid} is gone; the id belongs to a younger process"
    return None


@dataclass(frozen=True, slots=True)
class Orphan:
    run: dg.DagsterRun
    reason: str


def find_orphans(instance: dg.DagsterInstance, now: float | None = None) -> list[Orphan]:
    """Unfinished runs of this machine whose process is gone."""
    if not _runs_are_local_processes(instance):
        return []
    import psutil

    def start_of(pid: int) -> float | None:
        try:
            process = psutil.Process(pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
        except psutil.NoSuchProcess:
            return None

    moment, set_on = time.time() if now is None else now, max(0.0, _offset() - _OFFSET)
    found = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=list(TAKEN_UP))):
        worker = worker_of(instance, record.dagster_run.run_id)
        since = record.update_timestamp.timestamp()  # it may have waited long in the queue before
        reason = judge(worker, since, moment, psutil.boot_time(), start_of, set_on=set_on)
        if reason is not None:
            found.append(Orphan(record.dagster_run, reason))
    return found


def release(instance: dg.DagsterInstance, orphan: Orphan) -> None:
    """Mark the run as failed and give back its pool slots, so that the queue moves and the work can be done again."""
    instance.report_run_failed(
        orphan.run,
        f"Released by ocifree: {orphan.reason}. What it had finished is recorded; materialize the rest again.",
    )
    storage = instance.event_log_storage
    if storage.supports_global_concurrency_limits:
        storage.free_concurrency_slots_for_run(orphan.run.run_id)


def in_flight(instance: dg.DagsterInstance, keys: Iterable[str]) -> dg.DagsterRun | None:
    """A run that may make one of these: it has not ended, or it died and will be requested again."""
    wanted = _asset_keys(keys)
    for those in (dg.RunsFilter(statuses=list(UNFINISHED)), dg.RunsFilter(tags={AGAIN: WAITS})):
        for run in instance.get_runs(those):
            if _may_make(run, wanted):
                return run
    return None


def living(
    instance: dg.DagsterInstance, keys: Iterable[str] | None, statuses: Iterable[dg.DagsterRunStatus] = UNFINISHED
) -> dg.DagsterRun | None:
    """A run that has not ended, whose process lives, and that may make one of these; None for keys: one of any."""
    wanted = None if keys is None else _asset_keys(keys)
    busy = [run for run in instance.get_runs(dg.RunsFilter(statuses=list(statuses))) if _may_make(run, wanted)]
    dead = {orphan.run.run_id for orphan in find_orphans(instance)} if busy else set()
    return next((run for run in busy if run.run_id not in dead), None)


def _asset_keys(keys: Iterable[str]) -> set[dg.AssetKey]:
    return {dg.AssetKey(key.split("/")) for key in keys}


def statuses_that_move(instance: dg.DagsterInstance) -> tuple[dg.DagsterRunStatus, ...]:
    """Of runs that will end by themselves: a queue without a daemon stands still."""
    beat = instance.get_daemon_heartbeats().get("QUEUED_RUN_COORDINATOR")
    return UNFINISHED if beat is not None and abs(time.time() - beat.timestamp) < BEAT_SECONDS else TAKEN_UP


def moves(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether it will end by itself: its process lives, or a daemon will give it one."""
    run = instance.get_run_by_id(run_id)
    if run is not None and run.status is dg.DagsterRunStatus.QUEUED:
        return run.status in statuses_that_move(instance)
    return all(orphan.run.run_id != run_id for orphan in find_orphans(instance))


def _may_make(run: dg.DagsterRun, wanted: set[dg.AssetKey] | None) -> bool:
    if run.asset_selection is not None:
        return bool(run.asset_selection) if wanted is None else bool(run.asset_selection & wanted)
    # A job without a selection of its own runs all that it has, and `deploy` has everything.
    return run.job_name not in _MAKES_NOTHING and not run.asset_check_selection


def _runs_are_local_processes(instance: dg.DagsterInstance) -> bool:
    # On Kubernetes and the like a process id of this machine says nothing.
    from dagster._core.launcher import DefaultRunLauncher

    return isinstance(instance.run_launcher, DefaultRunLauncher)


def worker_of(instance: dg.DagsterInstance, run_id: str) -> Worker | None:
    """The last word counts: a run that was taken up again has a new process."""
    said = list(_said(instance, run_id))
    return said[-1] if said else None


def _said(instance: dg.DagsterInstance, run_id: str) -> Iterator[Worker]:
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT, ascending=True).records
    for record in records:
        event = record.event_log_entry.dagster_event
        match = _WORKER.search(event.message or "") if event else None
        if match:
            yield Worker(int(match.group(1)), record.timestamp)


def taken_up_again(run: dg.DagsterRun) -> dg.RunRequest | None:
    """The same assets once more: each looks first, so what was finished says `nothing to do`.

    Not for jobs, whose name a person has typed, nor for what died as often already: the process may be what kills it.
    """
    times = int(run.tags.get(TIMES, "0"))
    if not run.asset_selection or times >= MOST_TIMES:
        return None
    return dg.RunRequest(
        run_key=_run_key(run.run_id),
        asset_selection=sorted(run.asset_selection, key=lambda key: tuple(key.path)),
        tags={TIMES: str(times + 1), "ocifree/why": f"run {run.run_id[:8]} lost its process"},
    )


def _run_key(run_id: str) -> str:
    return f"again-{run_id}"


def _due(instance: dg.DagsterInstance) -> Iterator[dg.RunRequest]:
    """What waits to be requested again. It waits on its run, so that a tick that dies forgets nothing."""
    for record in instance.get_run_records(dg.RunsFilter(tags={AGAIN: WAITS})):
        run = record.dagster_run
        request = taken_up_again(run)
        asked = instance.get_runs_count(dg.RunsFilter(tags={"dagster/run_key": _run_key(run.run_id)}))
        ended = instance.get_runs_count(dg.RunsFilter(job_name="destroy", created_after=record.create_timestamp))
        if request is None or asked or ended:
            instance.add_run_tags(run.run_id, {AGAIN: DONE})
        elif living(instance, (key.to_user_string() for key in run.asset_selection or ())) is None:
            yield request


@dg.sensor(
    name="release_orphans",
    target=dg.AssetSelection.all(),
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Releases runs whose process is gone (power cut, kill), so that the queue does not wait for them, and "
    "requests their assets again once no other run works on them.",
)
def release_orphans(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    instance = context.instance
    orphans = find_orphans(instance)
    for orphan in orphans:
        if taken_up_again(orphan.run) is not None:
            instance.add_run_tags(orphan.run.run_id, {AGAIN: WAITS})
        release(instance, orphan)
    requests = list(_due(instance))
    if requests:
        return dg.SensorResult(run_requests=requests)
    said = [f"released {orphan.run.run_id[:8]}: {orphan.reason}" for orphan in orphans]
    return dg.SensorResult(skip_reason="; ".join(said) or "every unfinished run has a living process")
