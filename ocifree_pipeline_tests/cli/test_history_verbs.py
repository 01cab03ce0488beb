"""up, status, watch, verify, env, reconcile: what a person does while and after things are made."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.cli.home import kept_open
from ocifree_pipeline.deployment.examples import example_path
from ocifree_pipeline_tests.cli.conftest import Ocifree

if TYPE_CHECKING:
    import dagster as dg


def environ(home: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "DAGSTER_HOME": str(home), "OCIFREE_DEPLOYMENT": str(example_path("talos-native")), **more}


def run(*words: str, home: Path, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ocifree_pipeline.cli.app", *words],
        env=environ(home, **more), cwd=cwd, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip


@pytest.fixture
def here(ocifree: Ocifree, dagster_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ocifree:
    """The same command in this process: what only reads the history needs no process of its own."""
    for name, value in environ(dagster_home, HOME=str(tmp_path)).items():
        monkeypatch.setenv(name, value)
    return ocifree


def states(told: str) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in json.loads(told)}


def test_a_failed_run_ends_with_what_why_fix_and_the_command(dagster_home: Path, tmp_path: Path, here: Ocifree) -> None:
    up = run("up", "--yes", "--select", "tenancy/limits", home=dagster_home, cwd=tmp_path, HOME=str(tmp_path))
    assert up.returncode == Exit.FAILED, up.stdout + up.stderr
    assert "tenancy/limits failed: ~/.oci/config does not exist" in up.stdout
    assert "fix: make an API key" in up.stdout
    assert "again: ocifree up --select 'tenancy/limits+'" in up.stdout
    assert stat.S_IMODE((dagster_home / "up.log").stat().st_mode) == 0o600

    found = states(here("status", "--json").stdout)
    assert found["tenancy/limits"]["state"] == "failed"
    assert "config does not exist" in found["tenancy/limits"]["summary"]
    assert found["tenancy/plan"]["state"] == "missing"
    table = here("status").stdout
    assert "0 of" in table
    assert "again: ocifree up --select" in table

    watched = here("watch", "--json")
    assert watched.exit_code == Exit.FAILED
    events = json.loads(watched.stdout)
    assert events["status"] == "FAILURE"
    assert [event["kind"] for event in events["events"]] == ["started", "failed"]


@pytest.mark.long
def test_a_run_that_fails_before_its_first_asset_says_why(dagster_home: Path, tmp_path: Path) -> None:
    """Sockets have short names, so a folder for temporary files with a long one is none for Dagster."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    up = run(
        "up", "--yes", "--select", "tenancy/limits",
        home=dagster_home, cwd=tmp_path, HOME=str(tmp_path), TMPDIR=str(folder),
    )  # fmt: skip
    assert up.returncode == Exit.FAILED
    assert "the run failed: OSError: AF_UNIX path too long" in up.stdout
    assert "`ocifree logs` shows where" in up.stdout
    assert "again: ocifree up" in up.stdout


def test_what_is_not_built_exits_5(here: Ocifree) -> None:
    import dagster as dg

    from ocifree_pipeline.deployment.blueprint import find_blueprint
    from ocifree_pipeline.deployment.errors import NotYetBuilt
    from ocifree_pipeline.record.definition import Step, define_asset
    from ocifree_pipeline.record.outcome import Outcome

    def paint(step: Step) -> Outcome:
        raise NotYetBuilt(step.key, "paint")

    colour = define_asset(find_blueprint(), "test/colour", paint, group="test", kinds=(), describe="Blue.")
    with dg.DagsterInstance.get() as instance:
        assert not dg.materialize([colour], instance=instance, raise_on_error=False).success
    watched = here("watch")
    assert watched.exit_code == Exit.NOT_YET_BUILT, watched.output
    assert "test/colour is not built yet" in watched.stdout


@pytest.mark.filterwarnings("ignore:.*include_sources")
@pytest.mark.parametrize("selection", ["no/such", "no/such+", "group:nosuch", "nosuch", "what is this("])
def test_a_bad_selection_says_so_at_once_and_never_selects_everything(selection: str, here: Ocifree) -> None:
    up = here("up", "--yes", "--select", selection)
    assert up.exit_code == Exit.FAILED
    assert "the run did not start" in up.output


def test_watch_without_a_run_names_the_command_that_makes_one(here: Ocifree) -> None:
    watched = here("watch")
    assert watched.exit_code == Exit.NOT_READY
    assert "`ocifree up` starts one" in watched.stderr


@pytest.mark.long
def test_ctrl_c_leaves_the_run_alone(dagster_home: Path, tmp_path: Path, here: Ocifree) -> None:
    """Oracle is a door that never answers, so the run is under way for as long as the test wants."""
    key = tmp_path / "key.pem"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    (tmp_path / ".oci").mkdir()
    fingerprint = ":".join(["ab"] * 16)
    (tmp_path / ".oci/config").write_text(
        f"[DEFAULT]\nuser=ocid1.user.oc1..a\ntenancy=ocid1.tenancy.oc1..a\nfingerprint={fingerprint}\n"
        f"region=uk-london-1\nkey_file={key}\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environment = environ(dagster_home, HOME=str(tmp_path), HTTPS_PROXY=proxy, https_proxy=proxy)
        up = subprocess.Popen(
            [sys.executable, "-m", "ocifree_pipeline.cli.app", "up", "--yes", "--select", "tenancy/limits"],
            env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert up.stdout is not None
        for line in up.stdout:
            if line.strip().startswith(".."):
                break
        up.send_signal(signal.SIGINT)
        rest = up.stdout.read()
        assert up.wait(timeout=90) == Exit.INTERRUPTED
        assert "it goes on without this terminal" in rest
        found = states(here("status", "--json").stdout)
        assert found["tenancy/limits"]["state"] == "running"
        told = here("reconcile").stdout
        assert "every unfinished run has a living process" in told
        _end_the_run(dagster_home)
        assert "Its process ended without a word" in here("watch").stdout
        assert "released" in here("reconcile").stdout


LIMITS, PLAN = "tenancy/limits", "tenancy/plan"


@pytest.mark.parametrize(
    ("job", "status", "makes", "daemon", "asked", "ends", "says"),
    [
        ("x", "STARTED", [LIMITS, PLAN], False, {LIMITS}, Exit.FAILED, "works on all of this already"),
        ("x", "STARTED", [LIMITS], False, {LIMITS, PLAN}, None, "works on some of this already"),
        ("x", "STARTED", [LIMITS], False, None, None, "works on some of this already"),
        ("x", "STARTED", [PLAN], False, {LIMITS}, None, ""),
        ("deploy", "STARTED", None, False, None, Exit.FAILED, "works on all of this already"),
        ("x", "QUEUED", [LIMITS], True, {LIMITS}, Exit.FAILED, "works on all of this already"),
        ("x", "QUEUED", [LIMITS], False, {LIMITS}, None, ""),
        ("destroy", "STARTED", None, False, {LIMITS}, Exit.NOT_READY, "destroy, is under way"),
    ],
)
def test_one_run_at_a_time_works_on_an_asset(
    *, job: str, status: str, makes: list[str] | None, daemon: bool, asked: set[str] | None, ends: Exit | None,
    says: str,
    here: Ocifree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """`up` watches the run that is there. What that one does not make follows."""
    import dagster as dg
    import typer
    from dagster._daemon.types import DaemonHeartbeat

    from ocifree_pipeline.cli import up, watch

    with dg.DagsterInstance.get() as instance:
        run = _run_of(job, status, makes)
        instance.run_storage.add_run(run)
        instance.report_engine_event(f"Started process for run (pid: {os.getpid()}).", run)
        if daemon:
            instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "QUEUED_RUN_COORDINATOR", "x"))

        def to_its_end(_: dg.DagsterInstance, run_id: str, *__: object, **___: object) -> Exit:
            instance.report_run_failed(run)
            return Exit.FAILED

        monkeypatch.setattr(watch, "follow", to_its_end)
        try:
            ended = up.join(None if asked is None else frozenset(asked), as_json=False)
        except typer.Exit as refused:
            ended = Exit(refused.exit_code)
    assert ended is ends
    told = capsys.readouterr()
    assert says in told.out + told.err
    assert bool(told.out + told.err) == bool(says)


def test_a_queue_without_a_daemon_is_not_watched_for_ever(here: Ocifree) -> None:
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        instance.run_storage.add_run(_run_of("x", "QUEUED", [LIMITS]))
    watched = here("watch")
    assert watched.exit_code == Exit.FAILED
    assert "no daemon takes it from there" in watched.stdout


def _run_of(job: str, status: str, makes: list[str] | None) -> dg.DagsterRun:
    import dagster as dg
    from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

    keys = None if makes is None else frozenset(dg.AssetKey(key.split("/")) for key in makes)
    where = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("ocifree"), "__repository__")
    return dg.DagsterRun(
        job, "ab" * 16, asset_selection=keys, status=dg.DagsterRunStatus[status],
        remote_job_origin=RemoteJobOrigin(where, job),
    )  # fmt: skip


def _end_the_run(home: Path) -> None:
    import dagster as dg
    import psutil

    from ocifree_pipeline.automation.orphans import worker_of

    with dg.DagsterInstance.get() as instance:
        worker = worker_of(instance, instance.get_runs()[0].run_id)
        assert worker is not None
        process = psutil.Process(worker.pid)
        for child in process.children(recursive=True):
            child.kill()
        process.kill()
        deadline = time.monotonic() + 60
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_env_points_other_programs_at_the_same_history(
    ocifree: Ocifree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dagster_home: Path
) -> None:
    assert ocifree("init", "--non-interactive").exit_code == Exit.OK
    told = ocifree("env", "-d", "deployment.yaml").output
    assert f"export DAGSTER_HOME={dagster_home}" in told
    assert f"export OCIFREE_DEPLOYMENT={tmp_path / 'deployment.yaml'}" in told


def test_a_home_is_made_once_private_and_with_our_settings(
    ocifree: Ocifree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "deep/home"
    for name, value in environ(home).items():
        monkeypatch.setenv(name, value)
    told = ocifree("env")
    assert told.exit_code == Exit.OK, told.stderr
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert "telemetry: {enabled: false}" in (home / "dagster.yaml").read_text()
    (home / "dagster.yaml").write_text("# mine\n")
    assert ocifree("env").exit_code == Exit.OK
    assert (home / "dagster.yaml").read_text() == "# mine\n"


@pytest.mark.long
def test_four_commands_on_an_empty_home_at_once(tmp_path: Path) -> None:
    """Unguarded, this race has left homes with two schema heads."""
    together = [
        subprocess.Popen(
            [sys.executable, "-m", "ocifree_pipeline.cli.app", "status", "--json"],
            env=environ(tmp_path / "home"), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(4)
    ]  # fmt: skip
    for process in together:
        _, errors = process.communicate(timeout=110)
        assert process.returncode == Exit.OK, errors.decode()


def test_secrets_are_kept_and_never_shown(ocifree: Ocifree, dagster_home: Path) -> None:
    ocifree("init", "--non-interactive")
    kept = ocifree("secret", "set", "grafana_token", stdin="hunter2-hunter2\n")
    assert kept.exit_code == Exit.OK, kept.output
    assert "hunter2" not in kept.output
    listed = ocifree("secret", "list").output
    assert "vault:grafana_token" in listed
    for path in dagster_home.rglob("*"):
        if path.is_file():
            assert b"hunter2" not in path.read_bytes(), path
    assert ocifree("secret", "set", "empty", stdin="").exit_code == Exit.USAGE


def test_doctor_finds_what_is_missing_and_says_how_to_mend_it(here: Ocifree) -> None:
    told = here("doctor", "--json")
    assert told.exit_code == Exit.NOT_READY
    findings = {row["what"]: row for row in json.loads(told.stdout)}
    assert findings["Python"]["state"] == "ok"
    assert findings["Oracle credentials"]["state"] == "bad"
    assert "make an API key" in findings["Oracle credentials"]["fix"]
    assert all(row["fix"] for row in findings.values() if row["state"] != "ok")


def test_a_run_whose_process_is_gone_is_not_waited_for(dagster_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import dagster as dg

    from ocifree_pipeline.cli.watch import tell

    with dg.DagsterInstance.get() as instance:
        run = instance.create_run_for_job(dg.GraphDefinition(name="deploy").to_job())
        assert tell(instance, run.run_id, as_json=False, lives=lambda: False) is Exit.FAILED
    assert "Its process ended without a word. `ocifree reconcile` releases it" in capsys.readouterr().out


def test_a_machine_that_oracle_took_back_is_missing(here: Ocifree) -> None:
    import dagster as dg

    from ocifree_pipeline.deployment.watching import Turn
    from ocifree_pipeline.record.watched import note_turn

    with dg.DagsterInstance.get() as instance:
        for key in ("machines/bastion", "machines/ampere_1"):
            instance.report_runless_asset_event(dg.AssetMaterialization(key.split("/")))
        note_turn(instance, "ampere_1", Turn.LOST, "ampere_1 is lost: Oracle has ended it")
        note_turn(instance, "bastion", Turn.SILENT, "bastion does not answer")
        note_turn(instance, "bastion", Turn.BACK, "bastion is back")
    found = states(here("status", "--json").stdout)
    assert found["machines/ampere_1"]["state"] == "missing"
    assert found["machines/ampere_1"]["summary"] == "ampere_1 is lost: Oracle has ended it"
    assert found["machines/bastion"]["state"] == "made"


def test_what_a_run_writes_to_stays_open(dagster_home: Path) -> None:
    """Otherwise SQLite writes it all back each time that Dagster closes it, which is after every event."""
    import dagster as dg

    index = dagster_home / "history" / "runs" / "index.db"
    log = index.with_name("index.db-wal")
    with dg.DagsterInstance.get() as instance:

        def look() -> None:
            instance.get_latest_materialization_event(dg.AssetKey("one"))

        look()
        assert not log.exists()
        with kept_open(dagster_home, "runs/index", "runs/none"):
            look()
            assert log.exists()
        assert not log.exists()
