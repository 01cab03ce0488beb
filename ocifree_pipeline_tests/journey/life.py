"""One life of a deployment, as a person lives it: the commands, the daemon and its code server, and time that jumps.

    with living(folder) as life:
        life.ocifree("up", "--yes", ends=1)        # the command in a process of its own; it has to end with this code
        life.pass_time(days=9)                      # for Oracle, for Dagster, for every process
        life.settle()                               # everything that was due has been done
        life.kill("daemon")                         # it is started again, as systemd would

All processes take the time from one file (clock/sitecustomize.py), which only ever goes forward; so nothing here waits
for minutes, and whatever is late is late in virtual time.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
import yaml
from dagster._core.scheduler.instigation import ScheduleInstigatorData, SensorInstigatorData, TickStatus
from dagster._utils.schedules import get_latest_completed_cron_tick

from ocifree_pipeline.automation.orphans import UNFINISHED, worker_of
from ocifree_pipeline.sandbox import process

CLOCK = Path(__file__).parent / "clock"
SERVER, DAEMON = "code server", "daemon"
LONGEST_INTERVAL = 360
"""Every sensor is due after so many seconds."""


TRIES = 6


@dataclass
class Reaper:
    """Kills with signal 9 what it meets, as its seed says. Without a seed it never comes."""

    seed: int | None
    left: int = 0
    victims: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311
        self._since = 0

    def come(self, life: Life, command: subprocess.Popen[bytes] | None = None) -> None:
        if self.seed is None or not self.left or self._chance.random() > 0.05:
            return
        name = self._chance.choice([DAEMON, SERVER, "run", "command"])
        if name in (DAEMON, SERVER):
            if name not in life.kept:
                return
            life.kill(name)
        elif name == "run":
            if not life.kill_a_run():
                return
        elif command is None:
            return
        else:
            command.kill()
        self.left -= 1
        self.victims.append(name)

    def struck(self, life: Life) -> bool:
        """Since this was asked last."""
        before, self._since = self._since, len(self.victims)
        return before < self._since


_TERMINATE = """
import oci, sys
config = oci.config.from_file()
compute, search = oci.core.ComputeClient(config), oci.identity.IdentityClient(config)
for place in search.list_compartments(config["tenancy"]).data:
    for one in compute.list_instances(place.id, display_name=sys.argv[1], lifecycle_state="RUNNING").data:
        compute.terminate_instance(one.id, preserve_boot_volume=False)
"""


@dataclass
class Life:
    folder: Path
    environ: dict[str, str]
    ahead: mmap.mmap
    sandbox: process.Running
    found: dict[str, int] = field(default_factory=dict)
    """What the tenancy held before anything was made."""
    kept: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)
    arguments: set[str] = field(default_factory=set)
    reaper: Reaper = field(default_factory=lambda: Reaper(None))

    # commands ---------------------------------------------------------------------------------------------------------

    def ocifree(self, *words: str, ends: int | None = 0) -> str:
        """What the command printed. `ends` None: any code will do. One that was killed is typed again."""
        for _ in range(TRIES):
            code, said = self._typed(*words)
            if ends is None or code == ends:
                return said
            if not self.reaper.struck(self):
                break
            self.settle()
        return pytest.fail(f"{self.shown[-1]}\nended with {code}, not {ends}")

    def _typed(self, *words: str) -> tuple[int, str]:
        with (self.folder / "output.txt").open("w+") as output:
            command = subprocess.Popen(
                [sys.executable, "-m", "ocifree_pipeline.cli.app", *words],
                env=self.environ, cwd=self.folder, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            while command.poll() is None:
                self.tend() if self.kept else self.look_at_arguments()
                self.reaper.come(self, command)
                time.sleep(0.3)
            output.seek(0)
            said = output.read()
        self.shown.append(f"$ ocifree {' '.join(words)}\n{said}")
        return command.returncode, said

    def told(self, *words: str, ends: int | None = 0) -> Any:
        """The same as JSON."""
        return json.loads(self.ocifree(*words, "--json", ends=ends))

    def states(self) -> dict[str, dict[str, Any]]:
        return {row["key"]: row for row in self.told("status")}

    def not_made(self) -> dict[str, str]:
        return {
            key: f"{row['state']}: {row['summary']}" for key, row in self.states().items() if row["state"] != "made"
        }

    def facts(self, key: str) -> dict[str, Any]:
        with self.history() as instance:
            event = instance.get_latest_materialization_event(dg.AssetKey(key.split("/")))
        assert event is not None
        assert event.asset_materialization is not None
        found: dict[str, Any] = event.asset_materialization.metadata["facts"].value  # type: ignore[assignment]
        return found

    def oracle_takes_back(self, name: str) -> None:
        """As Oracle does with an idle machine: the instance ends, and its disk with it."""
        subprocess.run([sys.executable, "-c", _TERMINATE, name], env=self.environ, check=True, cwd=self.folder)

    def resources(self) -> dict[str, int]:
        """What the tenancy holds; without the records of work that is over, which Oracle keeps."""
        held: dict[str, int] = self.sandbox.call("GET", "status")["resources"]
        return {kind: count for kind, count in held.items() if kind != "workrequest"}

    # time -------------------------------------------------------------------------------------------------------------

    def now(self) -> float:
        return time.time() + self.age_days() * 86400

    def age_days(self) -> float:
        return float(struct.unpack("<q", self.ahead[:8])[0]) / 10**9 / 86400

    def pass_time(self, *, days: float = 0, hours: float = 0, seconds: float = 0) -> None:
        span = days * 86400 + hours * 3600 + seconds
        self.sandbox.call("POST", "clock", {"advance": span})
        self.ahead[:8] = struct.pack("<q", struct.unpack("<q", self.ahead[:8])[0] + round(span * 10**9))

    def settle(self) -> None:
        """Until every sensor has looked at this moment, schedules have started what was due, and no run is left."""
        with self.history() as instance:
            moment = self.now()
            while True:
                due, started, idle = self._due(instance, moment), self._started(instance), self._idle(instance)
                if due is None and started and idle:
                    return
                self.tend()
                self.reaper.come(self)
                if idle and due is not None and due > self.now():
                    self.pass_time(seconds=due - self.now())
                time.sleep(0.5)

    def until(self, there: Callable[[], bool], what: str, *, steps: int = 12) -> None:
        """Let the daemon live on, some minutes at a time, until it is so. The deadline is one of virtual time."""
        for _ in range(steps):
            self.pass_time(seconds=LONGEST_INTERVAL)
            self.settle()
            if there():
                return
        pytest.fail(f"not within {steps * LONGEST_INTERVAL / 60:.0f} minutes: {what}\n{self.last_words()}")

    def _due(self, instance: dg.DagsterInstance, moment: float) -> float | None:
        """When the last of the sensors that have not looked since will look. None when all have."""
        states = [one for one in instance.all_instigator_state() if one.instigator_type.value == "SENSOR"]
        looks = [one.instigator_data for one in states if isinstance(one.instigator_data, SensorInstigatorData)]
        late = [one for one in looks if (one.last_tick_timestamp or 0) < moment]
        if looks and not late:
            return None
        return max(((one.last_tick_timestamp or 0) + (one.min_interval or 0) for one in late), default=moment)

    def _started(self, instance: dg.DagsterInstance) -> bool:
        """Every schedule has ticked for the last moment at which it had to."""
        for one in instance.all_instigator_state():
            if not isinstance(one.instigator_data, ScheduleInstigatorData):
                continue
            cron, since = str(one.instigator_data.cron_schedule), one.instigator_data.start_timestamp or 0
            last = get_latest_completed_cron_tick(cron, datetime.fromtimestamp(self.now(), UTC), None).timestamp()
            ticks = instance.get_ticks(one.instigator_origin_id, one.selector_id, limit=1)
            if last > since and (not ticks or ticks[0].timestamp < last or ticks[0].status is TickStatus.STARTED):
                return False
        return True

    def _idle(self, instance: dg.DagsterInstance) -> bool:
        return not instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED)), limit=1)

    @contextmanager
    def history(self) -> Iterator[dg.DagsterInstance]:
        with dg.DagsterInstance.from_config(self.environ["DAGSTER_HOME"]) as instance:
            yield instance

    def last_words(self) -> str:
        with self.history() as instance:
            failed = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]), limit=3)
        runs = [self.ocifree("watch", run.run_id, ends=None)[-2500:] for run in failed]
        return "\n".join([*runs, *self.shown[-3:], *(self._log(name).read_text()[-1500:] for name in self.kept)])

    # the daemon and its code server ---------------------------------------------------------------------------------

    def tend(self) -> None:
        """Start what does not run, as systemd would."""
        for name in (SERVER, DAEMON):
            if name not in self.kept or self.kept[name].poll() is not None:
                self._start(name)
        self.look_at_arguments()

    def look_at_arguments(self) -> None:
        """Of every process of this life."""
        for one in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                self.arguments.add(" ".join(one.cmdline()))

    def load_again(self) -> None:
        """The declaration was changed: definitions are loaded once, when the code server starts."""
        self.kill(SERVER)
        self.tend()

    def kill(self, name: str) -> None:
        child = self.kept[name]
        child.send_signal(signal.SIGKILL)
        child.wait()

    def kill_a_run(self) -> bool:
        """The process of a run, and those that work for it, at one moment."""
        with self.history() as instance:
            for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
                worker = worker_of(instance, run.run_id)
                if worker is None or not psutil.pid_exists(worker.pid):
                    continue
                top = psutil.Process(worker.pid)
                for one in [top, *top.children(recursive=True)]:
                    one.kill()
                return True
        return False

    def stop(self) -> None:
        """All that is left of this life. A code server that is asked to end waits for its runs."""
        for one in psutil.Process().children(recursive=True):
            if one.pid != self.sandbox.pid:
                with suppress(psutil.Error):
                    one.kill()
        for child in self.kept.values():
            child.wait()

    def _start(self, name: str) -> None:
        socket = self.folder / "code.sock"
        words = {
            SERVER: ["code_server", "api", "grpc", "--socket", str(socket), "-m", "ocifree_pipeline.definitions",
                     "--use-python-environment-entry-point", "--location-name", "ocifree"],
            DAEMON: ["dagster._daemon", "run", "-w", str(self.folder / "workspace.yaml")],
        }  # fmt: skip
        if name == SERVER:
            socket.unlink(missing_ok=True)
        with self._log(name).open("ab") as log:
            self.kept[name] = subprocess.Popen(
                [sys.executable, "-m", *words[name]],
                env=self.environ, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        while name == SERVER and not socket.exists():
            assert self.kept[name].poll() is None, self._log(name).read_text()[-2000:]
            time.sleep(0.1)

    def _log(self, name: str) -> Path:
        return self.folder / f"{name.replace(' ', '-')}.log"


def _short_name_of(folder: Path) -> Path:
    """Sockets are made in there, and their path may have no more than 107 characters."""
    name = Path(tempfile.mkdtemp(prefix="life-")) / "t"
    name.symlink_to(folder)
    return name


@contextmanager
def living(folder: Path, *, tenancy: dict[str, object]) -> Iterator[Life]:
    """A folder with the declaration that `ocifree init` writes, and a tenancy in the sandbox."""
    clock = folder / "clock"
    clock.write_bytes(struct.pack("<q", 0))
    temporary = folder / "temporary"
    temporary.mkdir(mode=0o700)
    with clock.open("r+b") as file:
        ahead = mmap.mmap(file.fileno(), 8)
    environ = {
        **os.environ,
        "OCIFREE_LIFE_CLOCK": str(clock),
        "PYTHONPATH": os.pathsep.join([str(CLOCK), str(CLOCK.parents[2])]),
        "DAGSTER_HOME": str(folder / "dagster"),
        "TMPDIR": str(_short_name_of(temporary)),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }
    where = folder / "sandbox"
    with pytest.MonkeyPatch.context() as patched:
        for variable, value in environ.items():
            patched.setenv(variable, value)
        sandbox = process.start(where, process.Options(profile=tenancy))
    grafana = sandbox.call("GET", "grafana")
    environ |= sandbox.environment() | {
        "GRAFANA_CLOUD_TOKEN": grafana["token"],
        "GRAFANA_SERVICE_ACCOUNT_TOKEN": grafana["service_account_token"],
        "OCIFREE_SSH_IDENTITY": str(folder / "id_ed25519"),
    }
    (folder / "workspace.yaml").write_text(
        yaml.safe_dump(
            {"load_from": [{"grpc_server": {"socket": str(folder / "code.sock"), "location_name": "ocifree"}}]}
        )
    )
    life = Life(folder, environ, ahead, sandbox)
    life.found = life.resources()
    try:
        yield life
    finally:
        life.stop()
        sandbox.stop()
        shutil.rmtree(Path(environ["TMPDIR"]).parent)
