"""Which host key belongs to which machine. Pinned by machine name, because addresses move and machines do not.

The file is an ordinary known_hosts, so `ssh -o UserKnownHostsFile=... -o HostKeyAlias=<machine>` works with it too.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ocifree_pipeline.deployment.errors import Refused
from ocifree_pipeline.systems.durable import home_of, locked, replace_private


@dataclass(frozen=True, slots=True)
class HostKey:
    """One public key, as it stands in known_hosts."""

    machine: str
    kind: str
    blob: str

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(base64.b64decode(self.blob))


def fingerprint_of(blob: bytes) -> str:
    """As OpenSSH and cloud-init print it: SHA256: and base64 without padding."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class HostKeys:
    """The pinned keys of one deployment. Readable by the owner only, replaced in one step, safe between processes."""

    file: Path

    def of(self, machine: str) -> tuple[HostKey, ...]:
        return tuple(key for key in self._read() if key.machine == machine)

    def pin(self, key: HostKey) -> None:
        """Trust this key for its machine from now on. Another one of the same kind has to be forgotten first."""
        with locked(self.file):
            kept = self._read()
            known = [one for one in kept if (one.machine, one.kind) == (key.machine, key.kind)]
            if key in known:
                return
            if known:
                raise Refused(
                    f"{key.machine} has another {key.kind} host key on record",
                    why=f"{known[0].fingerprint} is pinned, {key.fingerprint} was to be",
                    fix="find out why the machine changed its identity before trusting it",
                )
            self._write([*kept, key])

    def forget(self, machine: str) -> None:
        """The machine of that name is gone; the next one has keys of its own."""
        with locked(self.file):
            kept = self._read()
            if any(key.machine == machine for key in kept):
                self._write(key for key in kept if key.machine != machine)

    def _read(self) -> list[HostKey]:
        if not self.file.exists():
            return []
        lines = (line.split() for line in self.file.read_text("utf-8").splitlines())
        return [HostKey(*parts[:3]) for parts in lines if len(parts) >= 3 and not parts[0].startswith("#")]

    def _write(self, keys: Iterable[HostKey]) -> None:
        replace_private(self.file, "".join(f"{key.machine} {key.kind} {key.blob}\n" for key in keys).encode())


def host_keys_of(deployment: str, environ: Mapping[str, str] = os.environ) -> HostKeys:
    """Beside the history of the deployment."""
    return HostKeys(home_of(environ) / "ssh" / f"{deployment}.known_hosts")
