"""ocifree verify: run checks only. What they find is recorded beside their assets."""

from __future__ import annotations

from pathlib import Path

import typer

from ocifree_pipeline.cli.declared import blueprint_for, export_declaration
from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.cli.home import ensure_home
from ocifree_pipeline.cli.output import say, say_json, table


def verify_checks(path: Path | None, select: str, as_json: bool) -> None:
    blueprint_for(path, json_wanted=as_json)
    export_declaration(path)
    ensure_home()
    import dagster as dg

    from ocifree_pipeline.definitions import defs

    assets = dg.AssetSelection.from_string(select)
    checks = dg.AssetSelection.checks_for_assets(*assets.resolve(defs.resolve_asset_graph()))
    job = dg.define_asset_job("verify_selected", selection=checks)
    picked = dg.Definitions(assets=defs.assets, asset_checks=defs.asset_checks, jobs=[job])
    with dg.DagsterInstance.get() as instance:
        result = picked.resolve_job_def("verify_selected").execute_in_process(instance=instance, raise_on_error=False)
    found = [
        {
            "check": f"{evaluation.asset_key.to_user_string()}:{evaluation.check_name}",
            "passed": evaluation.passed,
            "summary": evaluation.description or "",
        }
        for evaluation in result.get_asset_check_evaluations()
    ]
    refused = [event.step_key for event in result.all_events if event.is_step_failure]
    if as_json:
        say_json({"checks": found, "could_not_run": refused})
    else:
        table(
            ["check", "", ""],
            [[row["check"], "ok" if row["passed"] else "bad", row["summary"]] for row in found]
            + [[step, "warn", "could not run"] for step in refused],
        )
        say(
            f"{sum(bool(row['passed']) for row in found)} passed, {len(found) - sum(bool(r['passed']) for r in found)} "
            f"failed, {len(refused)} could not run"
        )
    raise typer.Exit(Exit.OK if found and all(row["passed"] for row in found) and not refused else Exit.FAILED)
