"""ocifree watch: the life of a run, line by line, with a last word about what to do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

import typer

from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.cli.home import ensure_home
from ocifree_pipeline.cli.output import on_terminal, refuse, say, say_json

if TYPE_CHECKING:
    import dagster as dg

    from ocifree_pipeline.record.happenings import Happening

_SHOWN = {
    "started": ("..", "dim"),
    "said": ("", None),
    "made": ("ok", "green"),
    "failed": ("FAIL", "red"),
    "retry": ("again", "yellow"),
    "check_passed": ("ok", "green"),
    "check_failed": ("FAIL", "red"),
    "check_warned": ("warn", "yellow"),
    "skipped": ("skip", "dim"),
}


def watch_run(run: str | None, as_json: bool) -> None:
    ensure_home()
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        raise typer.Exit(follow(instance, _find(instance, run, as_json), as_json))


def follow(instance: dg.DagsterInstance, run_id: str, as_json: bool, *, quietly: bool = False) -> Exit:
    """Tell a run of somebody else, as long as something moves it."""
    from ocifree_pipeline.automation.orphans import moves
    from ocifree_pipeline.record.happenings import happenings

    def lives() -> bool:
        return moves(instance, run_id)

    if not quietly:
        return tell(instance, run_id, as_json, lives=lives)
    for _ in happenings(instance, run_id, lives=lives):
        pass
    return Exit.OK


def _find(instance: dg.DagsterInstance, beginning: str | None, as_json: bool) -> str:
    for run in instance.get_runs(limit=200):
        if beginning is None or run.run_id.startswith(beginning):
            return run.run_id
    what = f"no run begins with {beginning}" if beginning else "there is no run yet"
    raise refuse(what, "`ocifree up` starts one", Exit.NOT_READY, as_json=as_json)


def tell(instance: dg.DagsterInstance, run_id: str, as_json: bool, lives: Callable[[], bool] = lambda: True) -> Exit:
    """Print the run until it ends, or its process no longer `lives`; the exit code says how it ended."""
    import dagster as dg

    from ocifree_pipeline.cli.progress import Progress, drawn
    from ocifree_pipeline.record.happenings import FINISHED, happenings

    seen: list[Happening] = []
    live = on_terminal() and not as_json
    progress = Progress()
    with drawn(progress) if live else nullcontext():
        for happening in happenings(instance, run_id, talk=live, lives=lives):
            progress.note(happening)
            if live and "/" in happening.subject and happening.kind in {"started", "said"}:
                continue  # shown while it lasts; the work of a job is told line by line
            seen.append(happening)
            if not as_json:
                _line(happening)
    ended = instance.get_run_by_id(run_id)
    status = ended.status.value if ended else "GONE"
    if as_json:
        say_json({"run": run_id, "status": status, "events": [happening.as_dict() for happening in seen]})
    else:
        _last_word(seen, run_id, status)
        if ended and ended.status is dg.DagsterRunStatus.QUEUED:
            say("  It waits in the queue, and no daemon takes it from there: `ocifree ui` starts one.")
        elif ended and ended.status not in FINISHED:
            say("  Its process ended without a word. `ocifree reconcile` releases it; then the same command again.")
    return Exit.OK if status == dg.DagsterRunStatus.SUCCESS.value else _failed_exit(seen)


def _failed_exit(seen: list[Happening]) -> Exit:
    errors = {happening.details.get("error") for happening in seen if happening.kind == "failed"}
    return Exit.NOT_YET_BUILT if errors == {"NotYetBuilt"} else Exit.FAILED


def _line(happening: Happening) -> None:
    mark, style = _SHOWN[happening.kind]
    seconds = happening.details.get("seconds")
    took = f"  {seconds:.1f} s" if isinstance(seconds, (int, float)) else ""
    first = happening.text.splitlines()[0] if happening.text else ""
    say(f"{mark:>5}  {happening.subject:<34}{took:>9}  {first}".rstrip(), style=style)


def _last_word(seen: list[Happening], run_id: str, status: str) -> None:
    say()
    failed = [happening for happening in seen if happening.kind == "failed"]
    waiting = [happening for happening in failed if happening.details.get("reaction") == "wait"]
    if waiting:
        names = ", ".join(happening.subject for happening in waiting)
        say(f"Oracle has no room for {names} now; {waiting[0].details.get('why')}.", style="bold yellow")
        say("  The hunt takes over: leave `ocifree ui` running. What hangs on them follows by itself.")
    for happening in [happening for happening in failed if happening not in waiting]:
        say(f"{happening.subject} failed: {happening.details.get('what') or happening.text}", style="bold red")
        for name in ("why", "fix", "again"):
            if happening.details.get(name):
                say(f"  {name}: {happening.details[name]}")
    made = sum(happening.kind == "made" for happening in seen)
    waits = f", {len(waiting)} waiting for capacity" if waiting else ""
    say(f"run {run_id[:8]}: {status.lower()}, {made} made, {len(failed) - len(waiting)} failed{waits}")
