"""ocifree verify: run checks only. What they find is recorded beside their assets."""

from __future__ import annotations

from pathlib import Path

import typer

from ocifree_pipeline.cli.declared import blueprint_for, export_declaration
from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.cli.home import ensure_home
from ocifree_pipeline.cli.output import refuse, say, say_json, table
from ocifree_pipeline.cli.selection import dagster_selection

PHASES = {
    "images": "group:images",
    "oci": "group:tenancy or group:foundation or group:machines",
    "proxmox": "group:proxmox",
    "kubernetes": "group:kubernetes or group:platform",
    "monitoring": "group:monitoring",
    "cost": "group:assurance",
}


def verify_phase(path: Path | None, select: str, phase: str | None, as_json: bool) -> None:
    if phase is None:
        return verify_checks(path, select, as_json)
    if phase not in PHASES:
        raise typer.BadParameter(f"no phase {phase!r}; there are {', '.join(PHASES)}", param_hint="--phase")
    return verify_checks(path, PHASES[phase] if select == "*" else f"({PHASES[phase]}) and ({select})", as_json)


def verify_drift(path: Path | None, select: str, as_json: bool) -> None:
    """Only the checks that compare with a plan. A warning is a difference too: a person has to decide on it."""
    verify_checks(path, select, as_json, only="drift")


def verify_checks(path: Path | None, select: str, as_json: bool, only: str | None = None) -> None:
    blueprint_for(path, json_wanted=as_json)
    export_declaration(path)
    ensure_home()
    import dagster as dg

    from ocifree_pipeline.definitions import defs

    assets = dg.AssetSelection.from_string(dagster_selection(select))
    graph = defs.resolve_asset_graph()
    keys = assets.resolve(graph)
    wanted = [key for key in graph.asset_check_keys if key.asset_key in keys and (only is None or key.name == only)]
    if only is not None:
        from ocifree_pipeline.record.standing import standing

        with dg.DagsterInstance.get() as instance:
            made = standing(instance, {key.asset_key for key in wanted})
        wanted = [key for key in wanted if key.asset_key in made]
    if not wanted:
        what = f"nothing to check in {select}"
        raise refuse(what, "`ocifree status` shows what is made", Exit.NOT_READY, as_json=as_json)
    checks = dg.AssetSelection.checks(*wanted)
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
