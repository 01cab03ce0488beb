"""ocifree up: show what will be made and that it is free, ask once, then drive Dagster and watch.

The run is a process of its own, in a session of its own: closing the terminal or pressing Ctrl-C leaves it alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ocifree_pipeline.cli.declared import blueprint_for, export_declaration
from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.cli.home import ensure_home, kept_open
from ocifree_pipeline.cli.output import fail, refuse, say
from ocifree_pipeline.cli.plan import show_plan
from ocifree_pipeline.cli.selection import dagster_selection, every_key, selected
from ocifree_pipeline.systems.durable import lacks_room

if TYPE_CHECKING:
    import dagster as dg


def bring_up(path: Path | None, select: str, yes: bool, as_json: bool) -> None:
    blueprint_for(path, json_wanted=as_json)
    if not as_json:
        show_plan(path, None, live=False, as_json=False)
        say()
    if not yes and not typer.confirm("Make this?", default=True, err=as_json):
        raise typer.Exit(Exit.INTERRUPTED)
    export_declaration(path)
    raise typer.Exit(materialize(select, as_json))


def selection_of(select: str, start: str | None) -> str:
    """`--from talos/cluster` is short for `--select 'talos/cluster+'`."""
    if start is None:
        return select
    if select != "*":
        raise typer.BadParameter("take either --select or --from: --from is short for --select 'ASSET+'")
    return f"{start}+"


def back_up(path: Path | None, as_json: bool) -> None:
    blueprint_for(path, json_wanted=as_json)
    export_declaration(path)
    raise typer.Exit(materialize("assurance/etcd_backup", as_json))


def materialize(select: str, as_json: bool = False, *, one_process: bool = False) -> Exit:
    """Run `dagster asset materialize` on the selection and tell how it goes.

    `one_process` is for a world that answers at once: a process for each step then costs more than the step.
    """
    selection = dagster_selection(select)
    try:
        keys = selected(selection)
    except ValueError as wrong:
        what = f"the run did not start: {wrong}"
        raise refuse(what, "`ocifree graph` shows the assets", Exit.FAILED, as_json=as_json) from wrong
    try:
        ended = join(keys, as_json)
    except KeyboardInterrupt:
        return _left_alone()
    if ended is not None:
        return ended
    words = ["asset", "materialize", "--select", selection]
    if one_process:
        words += ["--config-json", json.dumps({"execution": {"config": {"one_process": True}}})]
    return drive(words, "up.log", as_json)


def drive_job(home: Path, job: str, op: str, config: Mapping[str, str], as_json: bool) -> Exit:
    """Run a job that a person has agreed to, and tell what happens."""
    file = home / f"{job}.yaml"
    file.write_text(json.dumps({"ops": {op: {"config": config}}}))
    return drive(["job", "execute", "--job", job, "--config", str(file)], f"{job}.log", as_json)


def drive(words: list[str], log_name: str, as_json: bool = False) -> Exit:
    """Have Dagster run something of this deployment in a process of its own, and tell how it goes."""
    import dagster as dg

    from ocifree_pipeline.cli.watch import tell

    with home_with_room(as_json) as where:
        log = where / log_name
        command = [sys.executable, "-m", "dagster", *words, "-m", "ocifree_pipeline.definitions"]
        log.touch(mode=0o600)
        with log.open("w") as output:
            child = subprocess.Popen(  # noqa: S603
                command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
            )
        with dg.DagsterInstance.get() as instance, kept_open(where, "runs", "runs/index"):
            try:
                run_id = _run_of(instance, child)
                if run_id is None:
                    raise _did_not_start(log, as_json)
                with kept_open(where, f"runs/{run_id}"):
                    code = tell(instance, run_id, as_json, lives=lambda: child.poll() is None)
                    child.wait()
            except KeyboardInterrupt:
                return _left_alone()
    if code is Exit.FAILED and not as_json and (full := lacks_room(where)) is not None:
        fail(full)
    return code


@contextmanager
def home_with_room(as_json: bool) -> Iterator[Path]:
    """Dagster's folder; a disk that is full, or fills up meanwhile, is told in words."""
    where = ensure_home()
    if (full := lacks_room(where)) is not None:
        raise fail(full, as_json=as_json)
    from sqlalchemy.exc import OperationalError

    try:
        yield where
    except OperationalError:
        if (full := lacks_room(where)) is not None:
            raise fail(full, as_json=as_json) from None
        raise


def _left_alone() -> Exit:
    say("\nLeft alone; it goes on without this terminal. `ocifree watch` shows it again.")
    return Exit.INTERRUPTED


def join(keys: frozenset[str] | None, as_json: bool) -> Exit | None:
    """One run at a time works on an asset: watch the ones that are there. None when something is left to be made."""
    import dagster as dg

    from ocifree_pipeline.automation.orphans import living, statuses_that_move
    from ocifree_pipeline.cli.watch import follow

    with home_with_room(as_json), dg.DagsterInstance.get() as instance:
        while (busy := living(instance, keys, statuses_that_move(instance))) is not None:
            its = busy.asset_selection
            if its is None and busy.job_name != "deploy":
                raise refuse(
                    f"nothing was started: run {busy.run_id[:8]}, {busy.job_name}, is under way",
                    "`ocifree watch` shows it; when it has ended, the same command again",
                    Exit.NOT_READY,
                    as_json=as_json,
                )
            keys = every_key() if keys is None else keys
            has_all = its is None or keys <= {key.to_user_string() for key in its}
            if not as_json:
                say(f"Run {busy.run_id[:8]} works on {'all' if has_all else 'some'} of this already: here it is.")
            code = follow(instance, busy.run_id, as_json, quietly=as_json and not has_all)
            ended = instance.get_run_by_id(busy.run_id)
            if has_all and ended is not None and ended.is_finished:
                return code
    return None


def _run_of(instance: dg.DagsterInstance, child: subprocess.Popen[bytes]) -> str | None:
    """The run that the child works on, known by the process id in its event log; None if the child ended first."""
    from ocifree_pipeline.automation.orphans import worker_of

    while True:
        ended = child.poll() is not None
        for run in instance.get_runs(limit=20):
            worker = worker_of(instance, run.run_id)
            if worker is not None and worker.pid == child.pid:
                return run.run_id
        if ended:
            return None
        time.sleep(0.3)


def _did_not_start(log: Path, as_json: bool) -> typer.Exit:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    what = "\n".join(["the run did not start", *(f"  {line}" for line in lines[-8:])])
    return refuse(what, f"read {log}, then the same command again", Exit.FAILED, as_json=as_json)
