"""The API of a Proxmox node, as the pipeline's token: typed errors, strict booleans, tasks that are waited for.

    with session(dialer, "10.0.1.11", authority=pem, token=token) as api:
        api.wait(api.post("/nodes/lab-ampere-1/qemu/100/status/start"))

A call that answers with a task id has only begun. `wait` reads the task to its end, and whoever calls then reads back
what was to be.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import (
    AuthFailed,
    Conflict,
    Forbidden,
    NotVerified,
    OcifreeError,
    Refused,
    Transient,
)
from ocifree_pipeline.systems.oci.waiting import Clock, Pause, wait_for
from ocifree_pipeline.systems.ssh.dialer import Dialer
from ocifree_pipeline.systems.ssh.forward import forwarded

PORT = 8006
CALL_SECONDS = 60
TASK_SECONDS = 900.0
LOG_LINES = 5
AWAY = frozenset({595, 596, 599})
"""The node that was asked could not reach the one that the call is for."""

PASSING = ("got timeout", "got lock request timeout", "got no worker upid", "can't lock file", "no quorum")


class NotThere(Refused):
    """Proxmox knows nothing of that name."""


@dataclass(frozen=True, slots=True)
class Token:
    """Who asks: `user` with the realm, the name of the token, and its secret."""

    user: str
    name: str
    secret: SecretStr


@dataclass(frozen=True, slots=True)
class Api:
    """One session. Paths are those of the manual, such as /cluster/status."""

    proxmox: Any
    clock: Clock = time

    def get(self, path: str, **parameters: Any) -> Any:
        return self._call("get", path, parameters)

    def post(self, path: str, **parameters: Any) -> Any:
        return self._call("post", path, parameters)

    def put(self, path: str, **parameters: Any) -> Any:
        return self._call("put", path, parameters)

    def delete(self, path: str, **parameters: Any) -> Any:
        return self._call("delete", path, parameters)

    def wait(self, upid: str, timeout: float = TASK_SECONDS) -> tuple[str, ...]:
        """The warnings of a task that ended well; what it said when it did not."""
        where = f"/nodes/{upid.split(':')[1]}/tasks/{upid}"
        what = upid.split(":")[5]
        ended = wait_for(
            lambda: self._status(where),
            lambda status: status["status"] == "stopped",
            what=f"the task {what} ends",
            timeout=timeout,
            pause=Pause(0.3, 5),
            clock=self.clock,
        )
        said = str(ended.get("exitstatus", ""))
        if said == "OK":
            return ()
        log = tuple(str(row["t"]) for row in self.get(f"{where}/log", limit=500))[-LOG_LINES:]
        if said.startswith("WARNINGS"):
            return log
        raise NotVerified(
            f"the task {what} failed",
            why=said or " / ".join(log) or "it said nothing",
            fix=f"its whole log: pvesh get {where}/log",
        )

    def _status(self, where: str) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = self.get(f"{where}/status")
        except Refused as error:
            # Just begun, the task may not be known to the node that was asked.
            if "no such task" in f"{error.what} {error.why}":
                raise Transient(error.what, why=error.why, fix=error.fix) from error
            raise
        return found

    def _call(self, verb: str, path: str, parameters: Mapping[str, Any]) -> Any:
        import requests
        from proxmoxer.core import ResourceException

        wire = {name: _as_wire(value) for name, value in parameters.items() if value is not None}
        try:
            answer = getattr(self.proxmox(path.strip("/")), verb)(**wire)
        except ResourceException as error:
            raise _refusal(verb, path, error) from error
        except requests.exceptions.RequestException as error:
            raise _broken(verb, path, error) from error
        if isinstance(answer, dict) and isinstance(answer.get("errors"), bytes):
            raise NotVerified(f"{verb.upper()} {path} gave no JSON", why=repr(answer["errors"][:80]), fix="try again")
        return answer


@contextmanager
def session(dialer: Dialer, host: str, *, authority: str, token: Token, clock: Clock = time) -> Iterator[Api]:
    """Through the bastion to a node's port 8006. Only `authority` is trusted: the cluster's own, learned over SSH."""
    from proxmoxer import ProxmoxAPI

    with forwarded(dialer, host, PORT) as (here, port), tempfile.TemporaryDirectory(prefix="ocifree-") as folder:
        trusted = Path(folder) / "authority.pem"
        trusted.write_text(authority, "ascii")
        proxmox = ProxmoxAPI(
            here,
            port=port,
            user=token.user,
            token_name=token.name,
            token_value=token.secret.get_secret_value(),
            verify_ssl=str(trusted),
            timeout=CALL_SECONDS,
        )
        connection = proxmox._store["session"]
        connection.trust_env = False  # a proxy for the internet has nothing to say about this computer
        try:
            yield Api(proxmox, clock)
        finally:
            connection.close()


def _as_wire(value: Any) -> Any:
    """Proxmox takes 0 and 1 only, and proxmoxer would send `True`."""
    return int(value) if isinstance(value, bool) else value


def _broken(verb: str, path: str, error: Exception) -> OcifreeError:
    from requests.exceptions import SSLError

    # A way that is cut within the TLS hello is an SSLError too, and nobody has shown a certificate.
    if isinstance(error, SSLError) and "EOF" not in str(error):
        return NotVerified(
            "the Proxmox API shows a certificate that is not the cluster's",
            why=_first_line(error),
            fix="ocifree up --select 'proxmox/cluster' learns the authority anew, over SSH; if it is of another time, "
            "look at the clocks",
        )
    return Transient(
        f"the Proxmox API does not answer to {verb.upper()} {path}",
        why=type(error).__name__,
        fix="its services restart when a node joins; look again in a minute",
    )


def _refusal(verb: str, path: str, error: Any) -> OcifreeError:
    doing = f"{verb.upper()} {path}"
    said = str(error.content or error.status_message).strip()
    named = error.errors if isinstance(error.errors, Mapping) else {}
    why = "; ".join([said, *(f"{name}: {_plain(text)}" for name, text in named.items())])
    status = int(error.status_code)
    if status == 401:
        return AuthFailed(
            f"{doing}: Proxmox does not know the token of the pipeline",
            why=why,
            fix="ocifree up --select 'proxmox/cluster' makes a new one",
        )
    if status == 403:
        return Forbidden(
            f"{doing}: not allowed", why=why, fix="ocifree up --select 'proxmox/cluster' renews the role of the token"
        )
    if status in AWAY or any(words in said for words in PASSING):
        return Transient(f"{doing}: Proxmox could not do it now", why=why, fix="look again in a minute")
    if status == 404 or "does not exist" in said or "no such resource" in said:
        return NotThere(f"{doing}: there is no such thing", why=why, fix="it may have been removed by hand")
    if "already exists" in said or "already defined" in said:
        return Conflict(f"{doing}: it is there already", why=why, fix="look at what stands there, and who made it")
    return Refused(f"{doing}: Proxmox refused", why=f"{status}: {why}", fix="read the reason; nothing was changed")


def _plain(text: object) -> str:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text).strip()


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
