"""ocifree logs: what an asset said while it was made last, or what a run said."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocifree_pipeline.cli.declared import blueprint_for, export_declaration
from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.cli.home import ensure_home
from ocifree_pipeline.cli.output import refuse, say, say_json

if TYPE_CHECKING:
    import dagster as dg

PAGE = 500


def show_logs(path: Path | None, asset: str | None, run: str | None, as_json: bool) -> None:
    """The newest run, or the newest that made or tried to make the asset."""
    blueprint_for(path, json_wanted=as_json)
    export_declaration(path)
    ensure_home()
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        run_id = _run_of(instance, asset, run)
        if run_id is None:
            what = f"no run has made {asset} yet" if asset else "there is no such run"
            raise refuse(what, "`ocifree up` starts one", Exit.NOT_READY, as_json=as_json)
        lines = list(_lines(instance, run_id, asset))
    if as_json:
        say_json({"run": run_id, "lines": lines})
        return
    for line in lines:
        moment = datetime.fromtimestamp(line["at"], UTC).strftime("%H:%M:%S")
        first, *rest = str(line["text"]).splitlines() or [""]
        say(f"{moment}  {line['step']:<34}  {first}".rstrip(), style="red" if line["level"] == "ERROR" else None)
        for more in rest:
            say(f"{'':>10}{more}")


def _run_of(instance: dg.DagsterInstance, asset: str | None, run: str | None) -> str | None:
    import dagster as dg

    if run is not None:
        return next((one.run_id for one in instance.get_runs(limit=500) if one.run_id.startswith(run)), None)
    if asset is None:
        return next((one.run_id for one in instance.get_runs(limit=1)), None)
    records = instance.get_asset_records([dg.AssetKey.from_user_string(asset)])
    return records[0].asset_entry.last_run_id if records else None


def _lines(instance: dg.DagsterInstance, run_id: str, asset: str | None) -> Iterator[dict[str, Any]]:
    step = asset.replace("/", "__") if asset else None
    cursor: str | None = None
    while True:
        found = instance.get_records_for_run(run_id, cursor=cursor, limit=PAGE, ascending=True)
        cursor = found.cursor
        for record in found.records:
            entry = record.event_log_entry
            if step is not None and entry.step_key != step:
                continue
            text = _text(entry)
            if text:
                yield {
                    "at": entry.timestamp,
                    "step": (entry.step_key or "").replace("__", "/"),
                    "level": logging.getLevelName(int(entry.level)),
                    "text": text,
                }
        if not found.has_more:
            return


def _text(entry: dg.EventLogEntry) -> str:
    """What the work said, and how it failed; not what Dagster says about itself."""
    event = entry.dagster_event
    if event is None:
        return entry.user_message if int(entry.level) >= logging.INFO else ""
    if event.is_step_failure:
        told = event.step_failure_data.user_failure_data
        return (told.description if told else None) or event.message or ""
    return event.message or "" if event.is_failure else ""
