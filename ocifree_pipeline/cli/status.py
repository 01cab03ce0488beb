"""ocifree status: what is made, since when, which checks fail, and the command that helps."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ocifree_pipeline.cli.declared import blueprint_for, export_declaration
from ocifree_pipeline.cli.home import ensure_home
from ocifree_pipeline.cli.output import say, say_json, table

if TYPE_CHECKING:
    import dagster as dg


@dataclass(frozen=True, slots=True)
class State:
    """`made`, `failed`, `running` or `missing`, and what a person wants to know next."""

    key: str
    group: str
    state: str
    age_seconds: float | None
    summary: str
    failed_checks: tuple[str, ...]
    warned_checks: tuple[str, ...] = ()
    fix: str | None = None
    again: str | None = None


Failure = tuple[str, str | None, str | None]
"""What failed, what helps, and the command that tries again."""

_MARK = {"made": "ok", "failed": "bad", "running": "warn", "missing": "idle"}


def show_status(path: Path | None, as_json: bool) -> None:
    blueprint = blueprint_for(path, json_wanted=as_json)
    export_declaration(path)
    ensure_home()
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        states = read_states(instance, time.time())
    if as_json:
        say_json([asdict(state) for state in states])
        return
    table(
        ["asset", "state", "age", "checks", ""],
        [[s.key, (_MARK[s.state], s.state), _age(s), _checks(s), s.summary] for s in states],
        title=f"{blueprint.declaration.name}: {sum(s.state == 'made' for s in states)} of {len(states)} made",
    )
    for state in states:
        if state.fix:
            say()
            say(f"{state.key}: {state.summary}", style="red")
            say(f"  fix: {state.fix}")
            say(f"  again: {state.again}")


def read_states(instance: dg.DagsterInstance, now: float) -> list[State]:
    """From Dagster's history alone; nothing outside is asked."""
    from dagster import AssetKey

    from ocifree_pipeline.cli.graph import lineage
    from ocifree_pipeline.deployment.watching import Turn
    from ocifree_pipeline.record.destroyed import destroyed_since_made
    from ocifree_pipeline.record.watched import last_turn

    nodes = lineage()
    records = {
        record.asset_entry.asset_key.to_user_string(): record.asset_entry
        for record in instance.get_asset_records([AssetKey.from_user_string(key) for key in nodes])
    }
    failing = _failing_checks(instance, {key: node.checks for key, node in nodes.items()})
    runs: dict[str, dg.DagsterRun | None] = {}
    failures: dict[str, dict[str, Failure]] = {}
    states = []
    for key, node in nodes.items():
        entry = records.get(key)
        last = entry.last_materialization_record if entry else None
        made_by = last.run_id if last else None
        run_id = entry.last_run_id if entry else None
        if run_id and run_id not in runs:
            runs[run_id] = instance.get_run_by_id(run_id)
        run = runs.get(run_id) if run_id else None
        age = now - last.timestamp if last else None
        checks = failing.get(key, ((), ()))
        if run and not run.is_finished and run_id != made_by:
            states.append(State(key, node.group, "running", age, f"run {run.run_id[:8]}", *checks))
            continue
        gone = destroyed_since_made(instance, key) if last else None
        failed_since = run and run.is_failure and run_id != made_by and not _began_before(instance, run, gone)
        if run and failed_since and run.run_id not in failures:
            failures[run.run_id] = _failures_of(instance, run)
        failure = failures[run.run_id].get(key) if run and failed_since else None
        seen = last_turn(instance, key.removeprefix("machines/")) if last and key.startswith("machines/") else None
        if failure:
            what, fix, again = failure
            states.append(State(key, node.group, "failed", age, what, *checks, fix, again))
        elif seen is not None and seen[0] is not Turn.BACK:
            states.append(
                State(key, node.group, "missing" if seen[0] is Turn.LOST else "failed", age, seen[1], *checks)
            )
        elif gone is not None:
            when = datetime.fromtimestamp(gone, UTC).strftime("%Y-%m-%d %H:%M UTC")
            states.append(State(key, node.group, "missing", None, f"destroyed on {when}", ()))
        elif last and last.asset_materialization:
            summary = last.asset_materialization.metadata.get("summary")
            text = str(summary.value) if summary else ""
            states.append(State(key, node.group, "made", age, text, *checks))
        else:
            states.append(State(key, node.group, "missing", None, "", *checks))
    return states


def _began_before(instance: dg.DagsterInstance, run: dg.DagsterRun, moment: float | None) -> bool:
    record = instance.get_run_record_by_id(run.run_id)
    return moment is not None and record is not None and record.create_timestamp.timestamp() < moment


def _failures_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict[str, Failure]:
    """What failed in that run, by asset. What was begun and never ended went down with the process of the run."""
    from ocifree_pipeline.record.facts import materialize_command
    from ocifree_pipeline.record.happenings import happenings

    found: dict[str, Failure] = {}
    for happening in happenings(instance, run.run_id):
        key = happening.subject
        if happening.kind == "started":
            fix = "nothing while `ocifree ui` runs, which takes it up again"
            found[key] = (f"run {run.run_id[:8]} ended while it was made", fix, materialize_command(f"{key}+"))
        elif happening.kind == "made":
            found.pop(key, None)
        elif happening.kind == "failed":
            what = str(happening.details.get("what") or happening.text.splitlines()[0])
            found[key] = (what, happening.details.get("fix"), happening.details.get("again"))
    return found


def _failing_checks(
    instance: dg.DagsterInstance, checks: dict[str, tuple[str, ...]]
) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Of each asset those that fail, and those that only warn."""
    from dagster import AssetCheckKey, AssetKey

    keys = [AssetCheckKey(AssetKey.from_user_string(asset), name) for asset, names in checks.items() for name in names]
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    failing: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for check, record in latest.items():
        if record.status.value in {"FAILED", "EXECUTION_FAILED"}:
            asset = check.asset_key.to_user_string()
            failed, warned = failing.get(asset, ((), ()))
            warns = record.evaluation is not None and record.evaluation.severity.value == "WARN"
            failing[asset] = (failed, (*warned, check.name)) if warns else ((*failed, check.name), warned)
    return failing


def _checks(state: State) -> str:
    return ", ".join(
        [*(f"{name} FAILS" for name in state.failed_checks), *(f"{name} warns" for name in state.warned_checks)]
    )


def _age(state: State) -> str:
    if state.age_seconds is None:
        return ""
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60)):
        if state.age_seconds >= seconds:
            return f"{state.age_seconds / seconds:.0f} {unit}"
    return f"{state.age_seconds:.0f} s"
