"""What we ask a Talos node, with types.

with talos(dialer, "10.0.1.11", 50000, trust, server_name="10.0.1.11", node="lab-ampere-1") as node:
    node.version().tag
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import NotVerified, Refused
from ocifree_pipeline.protocols.talos import ApplyMode, WipeMode, message
from ocifree_pipeline.systems.ssh.dialer import Dialer
from ocifree_pipeline.systems.ssh.forward import forwarded
from ocifree_pipeline.systems.talos.channel import Conversation, conversation
from ocifree_pipeline.systems.talos.trust import Trust

PORT = 50000
NO_CHANGES = "No changes."
CHUNK = 256 * 1024
STREAM_SECONDS = 120.0
SNAPSHOT_SECONDS = 900.0
UPGRADE_SECONDS = 1800.0
_SYSTEM, _CONTAINERD = 1, 0
"""Talos runs its own services, the installer too, in containerd's namespace `system`."""


@dataclass(frozen=True, slots=True)
class Version:
    """`tag` with the leading v; `rbac` is told only by a node that has a configuration."""

    tag: str
    architecture: str
    platform: str
    configured: bool


@dataclass(frozen=True, slots=True)
class Member:
    """A member of etcd, as the members know it."""

    id: int
    hostname: str
    peers: tuple[str, ...]
    is_learner: bool


@dataclass(frozen=True, slots=True)
class EtcdStatus:
    """How etcd on one node is. `leader` is 0 while there is none."""

    member: int
    leader: int
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Service:
    """`healthy` is None while nobody has asked it yet."""

    id: str
    state: str
    healthy: bool | None
    message: str


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying a configuration did, or would do. `differs` is told by a dry run alone."""

    warnings: tuple[str, ...]
    differs: bool


class Talos:
    """The API of one node."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    # what it is -------------------------------------------------------------------------------------------------------

    def version(self) -> Version:
        found = self._first("Version")
        return Version(found.version.tag, found.version.arch, found.platform.name, found.features.rbac)

    def services(self) -> dict[str, Service]:
        return {
            one.id: Service(
                one.id, one.state, None if one.health.unknown else one.health.healthy, one.health.last_message
            )
            for one in self._first("ServiceList").services
        }

    def logs(self, service: str, lines: int = 100) -> str:
        return self._text("Logs", namespace="system", id=service, driver=_CONTAINERD, tail_lines=lines)

    # configuration ----------------------------------------------------------------------------------------------------

    def apply(self, configuration: SecretStr, mode: ApplyMode = ApplyMode.AUTO) -> Applied:
        done = self._apply(configuration, mode, dry_run=False)
        return Applied(tuple(done.warnings), differs=False)

    def compare(self, configuration: SecretStr) -> Applied:
        """Whether applying it would change anything. What it would is full of secrets and goes nowhere."""
        told = self._apply(configuration, ApplyMode.AUTO, dry_run=True)
        return Applied(tuple(told.warnings), differs=NO_CHANGES not in str(told.mode_details))

    def _apply(self, configuration: SecretStr, mode: ApplyMode, *, dry_run: bool) -> Any:
        data = configuration.get_secret_value().encode()
        return self._first("ApplyConfiguration", data=data, mode=int(mode), dry_run=dry_run)

    # etcd -------------------------------------------------------------------------------------------------------------

    def bootstrap(self, *, from_snapshot: bool = False) -> None:
        """Make this node the first member of a new etcd. Once in the life of a cluster, on one node."""
        self._first("Bootstrap", recover_etcd=from_snapshot)

    def members(self) -> tuple[Member, ...]:
        return tuple(
            Member(one.id, one.hostname, tuple(one.peer_urls), one.is_learner)
            for one in self._first("EtcdMemberList").members
        )

    def etcd(self) -> EtcdStatus:
        found = self._first("EtcdStatus").member_status
        return EtcdStatus(found.member_id, found.leader, tuple(found.errors))

    def remove_member(self, member: int) -> None:
        self._first("EtcdRemoveMemberByID", member_id=member)

    def snapshot(self, into: Path) -> int:
        """A copy of etcd's data, as a file that only its owner may read; how many bytes it has."""
        descriptor = os.open(into, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            self._conversation.listen(
                _path("EtcdSnapshot"), lambda one: file.write(one.bytes), timeout=SNAPSHOT_SECONDS
            )
        size = into.stat().st_size
        if size == 0:
            raise NotVerified("the snapshot of etcd is empty", why="the node sent nothing", fix="try again in a minute")
        return size

    def recover(self, snapshot: Path) -> None:
        """Hand over a snapshot; `bootstrap(from_snapshot=True)` then starts from it."""
        with snapshot.open("rb") as file:
            chunks: Iterable[Any] = (
                message("common.Data")(bytes=chunk) for chunk in iter(lambda: file.read(CHUNK), b"")
            )
            self._conversation.tell(_path("EtcdRecover"), chunks, timeout=SNAPSHOT_SECONDS)

    # kubernetes -------------------------------------------------------------------------------------------------------

    def kubeconfig(self) -> SecretStr:
        """A new one for the administrator, made by the node."""
        archive = bytearray()
        self._conversation.listen(_path("Kubeconfig"), lambda one: archive.extend(one.bytes), timeout=STREAM_SECONDS)
        return SecretStr(_only_file(bytes(archive)))

    # life -------------------------------------------------------------------------------------------------------------

    def reboot(self) -> None:
        self._first("Reboot")

    def reset(self, *, graceful: bool, labels: tuple[str, ...] = (), mode: WipeMode = WipeMode.SYSTEM_DISK) -> None:
        """Wipe the disk, or these partitions of it, and start anew. Only a person may want this."""
        wiped = [message("machine.ResetPartitionSpec")(label=label, wipe=True) for label in labels]
        self._first("Reset", graceful=graceful, reboot=True, system_partitions_to_wipe=wiped, mode=int(mode))

    def upgrade(self, installer: str, say: Callable[[str], None]) -> None:
        """Install another version. It runs after the next `reboot`, which Talos before 1.13 does by itself."""
        codes: list[int] = []

        def heard(reply: Any) -> None:
            if reply.progress.WhichOneof("response") == "exit_code":
                codes.append(reply.progress.exit_code)
            else:
                say(reply.progress.message)

        containerd = message("common.ContainerdInstance")(driver=_CONTAINERD, namespace=_SYSTEM)
        source = message("machine.InstallArtifactsSource")(image_name=installer)
        # The upgrade does not fetch the image by itself.
        pull = "/machine.ImageService/Pull"
        self._conversation.listen(
            pull, lambda _: None, timeout=UPGRADE_SECONDS, containerd=containerd, image_ref=installer
        )
        path = "/machine.LifecycleService/Upgrade"
        self._conversation.listen(path, heard, timeout=UPGRADE_SECONDS, containerd=containerd, source=source)
        if codes != [0]:
            raise Refused(
                "the installer of Talos failed",
                why=f"it ended with {codes or 'nothing'}; the node runs on as before",
                fix="read what it said above, or `talosctl dmesg`",
            )

    def upgrade_older(self, installer: str) -> None:
        """The same before 1.13: one call that installs and restarts."""
        self._first("Upgrade", timeout=UPGRADE_SECONDS, image=installer)

    # ------------------------------------------------------------------------------------------------------------------

    def _first(self, name: str, **fields: Any) -> Any:
        """The reply of the node itself; only a node that passes calls on answers with several."""
        reply = self._conversation.call(_path(name), **fields)
        if not reply.messages:
            raise NotVerified(f"the answer to {name} is empty", why="no node is in it", fix="try again in a minute")
        return reply.messages[0]

    def _text(self, name: str, **fields: Any) -> str:
        parts: list[bytes] = []
        self._conversation.listen(_path(name), lambda one: parts.append(one.bytes), timeout=STREAM_SECONDS, **fields)
        return b"".join(parts).decode("utf-8", "replace")


@contextmanager
def talos(dialer: Dialer, host: str, trust: Trust, *, server_name: str, node: str) -> Iterator[Talos]:
    """The API of the node at `host`, over the way that leads there. `server_name` is what its certificate names."""
    with (
        forwarded(dialer, host, PORT) as address,
        conversation(address, trust, server_name, node) as opened,
    ):
        yield Talos(opened)


def _path(name: str) -> str:
    return f"/machine.MachineService/{name}"


def _only_file(archive: bytes) -> str:
    """The text of the first file of a tar.gz. Talos does not write its end, so nobody may look for it."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            member = tar.next()
            content = tar.extractfile(member) if member is not None else None
            if content is not None:
                return content.read().decode()
    except (tarfile.TarError, OSError, EOFError, UnicodeDecodeError):
        pass
    raise NotVerified("the node sent no kubeconfig", why="it is not the archive that Talos sends", fix="try again")
