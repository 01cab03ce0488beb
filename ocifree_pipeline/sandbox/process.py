"""A sandbox in a process of its own: start it, find it, talk to it, stop it.

with_sandbox = ensure_running(Path(".ocifree/sandbox"))
subprocess.run(["oci", "iam", "region", "list"], env=os.environ | with_sandbox.environment())
with_sandbox.stop()
"""

import fcntl
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from ocifree_pipeline.deployment.errors import NotVerified, OcifreeError, PreconditionMissing, Refused
from ocifree_pipeline.sandbox import private_files

DEFAULT_DIRECTORY = Path(".ocifree/sandbox")
LOOPBACK = "127.0.0.1"
NOT_PROXIED = "127.0.0.1,localhost,::1"
START_SECONDS = 30.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.01
CALL_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Running:
    """A sandbox that answers. ``token`` opens its control API."""

    directory: Path
    pid: int
    plain_port: int
    proxy_port: int
    token: str = field(repr=False)

    @property
    def endpoint(self) -> str:
        """The plain door, for clients that take a service endpoint."""
        return f"http://{LOOPBACK}:{self.plain_port}"

    @property
    def proxy(self) -> str:
        return f"http://{LOOPBACK}:{self.proxy_port}"

    def environment(self) -> dict[str, str]:
        """The variables that point every client of a process at this sandbox, and at nothing else."""
        from ocifree_pipeline.sandbox.tailscale import tailnet

        ca, config = str(self.directory / "ca" / "ca.pem"), str(self.directory / "oci.config")
        return {
            "HTTPS_PROXY": self.proxy,
            "https_proxy": self.proxy,
            "HTTP_PROXY": self.proxy,
            "http_proxy": self.proxy,
            "NO_PROXY": NOT_PROXIED,
            "no_proxy": NOT_PROXIED,
            "REQUESTS_CA_BUNDLE": ca,
            "CURL_CA_BUNDLE": ca,
            "SSL_CERT_FILE": ca,
            "OCI_CONFIG_FILE": config,
            "OCI_CLI_CONFIG_FILE": config,
            "OCI_CLI_RC_FILE": str(self.directory / "oci_cli_rc"),
            "OCIFREE_SANDBOX": str(self.directory),
            "TS_CLIENT_ID": tailnet.CLIENT[0],
            "TS_CLIENT_SECRET": tailnet.CLIENT[1],
        }

    def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, query: dict[str, str] | None = None
    ) -> Any:
        """One call of the control API, such as ``call("POST", "clock", {"advance": 60})``."""
        target = f"/_sandbox/{quote(path)}" + (f"?{urlencode(query)}" if query else "")
        connection = http.client.HTTPConnection(LOOPBACK, self.plain_port, timeout=CALL_SECONDS)
        try:
            connection.request(
                method,
                target,
                None if body is None else json.dumps(body),
                {"authorization": f"Bearer {self.token}", "content-type": "application/json"},
            )
            reply = connection.getresponse()
            value = json.loads(reply.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise PreconditionMissing(
                f"the sandbox in {self.directory} does not answer",
                why=str(error) or type(error).__name__,
                fix=f"ocifree sandbox up (its log: {self.directory / 'sandbox.log'})",
            ) from error
        finally:
            connection.close()
        if reply.status != 200:
            raise Refused(
                f"the sandbox refuses {method} {path}", why=value["message"], fix="change the request as it says"
            )
        return value

    def stop(self) -> None:
        """End it and wait until it has saved its world and gone. One that does not listen is killed."""
        try:
            self.call("POST", "stop")
        except OcifreeError:
            _signal(self, signal.SIGTERM)
        if not _gone(self, STOP_SECONDS):
            _signal(self, signal.SIGKILL)
            if not _gone(self, STOP_SECONDS):
                raise NotVerified(
                    f"the sandbox process {self.pid} does not end",
                    why="it was told to, then killed, and still holds its directory",
                    fix=f"look at process {self.pid} with ps",
                )
        _reap(self.pid)


@dataclass(frozen=True, slots=True)
class Options:
    """How a sandbox is started. ``profile`` is for a new world; None leaves mode and rate as they were."""

    profile: dict[str, Any] | None = None
    seed: int | None = None
    mode: str | None = None
    rate: float | None = None
    fresh: bool = False
    idle_hours: float = 12.0
    plain_port: int = 0
    proxy_port: int = 0

    def arguments(self) -> list[str]:
        given = {
            "--profile": None if self.profile is None else json.dumps(self.profile),
            "--seed": self.seed,
            "--mode": self.mode,
            "--rate": self.rate,
            "--idle-hours": self.idle_hours,
            "--plain-port": self.plain_port,
            "--proxy-port": self.proxy_port,
        }
        words = [f"{name}={value}" for name, value in given.items() if value is not None]
        return [*words, "--fresh"] if self.fresh else words


def find(directory: Path = DEFAULT_DIRECTORY) -> Running | None:
    """The sandbox that runs in ``directory``; None when there is none, or only what a killed one left behind."""
    directory = directory.absolute()
    try:
        ready = json.loads((directory / "ready.json").read_text())
        running = Running(directory, ready["pid"], ready["plainPort"], ready["proxyPort"], ready["token"])
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError):
        return None
    return running if _held(directory) else None


def ensure_running(directory: Path = DEFAULT_DIRECTORY) -> Running:
    """The sandbox of ``directory``, started if need be."""
    return find(directory) or start(directory)


def start(directory: Path = DEFAULT_DIRECTORY, options: Options | None = None) -> Running:
    """Start a sandbox in the background, in a session of its own, and wait until its doors are open."""
    directory = private_files.make_directory(directory.absolute())
    command = [sys.executable, "-m", "ocifree_pipeline.sandbox", f"--directory={directory}"]
    log = directory / "sandbox.log"
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
        begin = os.fstat(output.fileno()).st_size
        child = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [*command, *(options or Options()).arguments()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        running = find(directory)
        if running is not None and running.pid == child.pid:
            return running
        if child.poll() is not None:
            if running is not None:
                return running  # somebody else was faster
            raise _did_not_start(f"it ended with exit code {child.returncode}", log, begin)
        time.sleep(POLL_SECONDS)
    child.kill()
    child.wait()
    raise _did_not_start(f"its doors did not open within {START_SECONDS:.0f} s", log, begin)


def _did_not_start(why: str, log: Path, begin: int) -> PreconditionMissing:
    with log.open("rb") as file:
        file.seek(begin)
        last = file.read().decode(errors="replace").strip().splitlines()[-2:]
    return PreconditionMissing(
        "the sandbox did not start", why="; ".join([why, *(line.strip() for line in last)]), fix=f"read {log}"
    )


def _held(directory: Path) -> bool:
    """The running process holds a lock for as long as it lives, however it dies."""
    try:
        with (directory / "lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _gone(running: Running, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while _held(running.directory):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _signal(running: Running, number: signal.Signals) -> None:
    """The lock proves that the process of ready.json still lives, so its id is not somebody else's."""
    if _held(running.directory):
        os.kill(running.pid, number)


def _reap(pid: int) -> None:
    """Leave no zombie when the sandbox was a child of this process."""
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        return
