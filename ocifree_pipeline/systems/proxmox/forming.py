"""Make one cluster of the nodes: what is missing only, one node after the other, believed when it is read back."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import Conflict, NotVerified, OcifreeError, Transient
from ocifree_pipeline.systems.journal import Journal
from ocifree_pipeline.systems.oci.waiting import Clock, Pause, TimedOut, wait_for
from ocifree_pipeline.systems.proxmox import hosts
from ocifree_pipeline.systems.proxmox.membership import (
    Joining,
    Move,
    View,
    doubts,
    fingerprint_of,
    patient,
    plan_joining,
    view_of,
)
from ocifree_pipeline.systems.proxmox.node import Node
from ocifree_pipeline.systems.proxmox.ports import require_open

Seen = TypeVar("Seen")

CREATE_SECONDS = 120.0
JOIN_SECONDS = 300.0
SETTLE_SECONDS = 180.0
LIFETIME = timedelta(minutes=10)
"""How long a join that nobody heard the end of may still be going on."""
BETWEEN_NODES = "/etc/ssh/sshd_config.d/01-ocifree-nodes.conf"
CERTIFICATE = "/etc/pve/local/pve-ssl.pem"
PASSWORD = "root password for joining"  # noqa: S105 - the name of an intent
MOVES = {"create": "create a cluster", "forget": "take a node out of the cluster", "join": "join a node"}


@dataclass(frozen=True, slots=True)
class Former:
    """Forms `cluster` out of `nodes`, in their order."""

    cluster: str
    nodes: Sequence[Node]
    journal: Journal
    say: Callable[[str], None]
    clock: Clock = time

    def prepare(self) -> list[str]:
        """What Proxmox needs to know of the other nodes. Returns what was changed."""
        addresses = {node.name: node.address for node in self.nodes}
        lines = []
        for node in self.nodes:
            before = node.text(hosts.PATH)
            after = hosts.hosts_with(before, addresses)
            if after != before:
                node.put(hosts.PATH, after)
                lines.append(f"write the names of the nodes into /etc/hosts of {node.name}")
                self._take_new_name(node)
            self._resolves(node, addresses)
            sshd = _between_nodes(addresses.values())
            if not node.has(BETWEEN_NODES) or node.text(BETWEEN_NODES) != sshd:
                node.put(BETWEEN_NODES, sshd)
                node.run(["systemctl", "reload", "ssh"]).checked(f"reload the SSH server of {node.name}")
                lines.append(f"let root of the other nodes into {node.name} by key, for migrations")
        return lines

    def views(self) -> list[View]:
        return [view_of(node) for node in self.nodes]

    def plan(self) -> Joining:
        """What is missing. A join that was under way when its process died is awaited first."""
        self._lock_again()
        self._await_open_joins()
        for operation in (MOVES["create"], MOVES["forget"]):
            for intent in self.journal.open_intents(operation):
                self.journal.close(intent, "looked at again")
        return plan_joining(self.views(), self.cluster)

    def apply(self, joining: Joining) -> list[View]:
        """Make the moves, then prove that every node agrees."""
        founder = self._node(joining.founder)
        require_open((self._node(move.node), founder) for move in joining.moves if move.kind == "join")
        for move in joining.moves:
            self.say(move.words(self.cluster, founder.name))
            self._make(move, founder)
        return self.proved()

    def proved(self) -> list[View]:
        """Every node's view, when they all agree that the cluster is whole; else NotVerified with what each sees."""
        seen: list[View] = []

        def read() -> tuple[str, ...]:
            seen[:] = self.views()
            return doubts(seen, self.cluster)

        try:
            self._wait(read, lambda found: not found, f"every node sees the whole cluster {self.cluster}")
        except TimedOut as error:
            raise NotVerified(
                f"the cluster {self.cluster} is not whole",
                why="; ".join(doubts(seen, self.cluster)) or error.why,
                fix="look at it on a node: pvecm status; corosync needs UDP 5405-5412 between the nodes",
            ) from error
        return seen

    # moves ------------------------------------------------------------------------------------------------------------

    def _make(self, move: Move, founder: Node) -> None:
        intent = self.journal.intend(MOVES[move.kind], move.node, now=datetime.now(UTC), lifetime=LIFETIME)
        match move.kind:
            case "create":
                said = founder.run(["pvecm", "create", self.cluster, "--link0", founder.address], CREATE_SECONDS)
                self._until(founder, founder.name, said.stdout + said.stderr)
            case "forget":
                founder.run(["pvecm", "delnode", move.node]).checked(f"take {move.node} out of the cluster")
            case "join":
                self._join(self._node(move.node), founder)
        self.journal.close(intent, "done")

    def _join(self, node: Node, founder: Node) -> None:
        joining = ["pvecm", "add", founder.address, "--link0", node.address, "--fingerprint", fingerprint_of(founder)]
        with self._root_password(founder) as password:
            try:
                said = node.run(joining, JOIN_SECONDS, SecretStr(f"{password.get_secret_value()}\n"))
                told = said.stdout + said.stderr
            except Transient as error:
                # The join restarts services that the connection may hang on; what counts is what the founder sees.
                told = f"{error.what}: {error.why}"
            self._until(founder, node.name, told)

    def _until(self, founder: Node, member: str, told: str) -> None:
        """The founder sees the member online, in a quorate cluster. What the command said goes into the error."""
        try:
            self._wait(
                lambda: view_of(founder),
                lambda view: view.quorate and view.members.get(member, False),
                f"{founder.name} sees {member} in the cluster",
            )
        except TimedOut as error:
            raise NotVerified(
                f"{member} is not in the cluster {self.cluster}",
                why=_last_words(told),
                fix="materialize proxmox/cluster again: it looks at every node first, and names what is left by half; "
                f"`journalctl -u pve-cluster -u corosync` on {member} says more",
            ) from error

    @contextmanager
    def _root_password(self, founder: Node) -> Iterator[SecretStr]:
        """A password of root that exists while a node joins, and that nobody ever sees."""
        status = founder.run(["passwd", "-S", "root"]).checked(f"ask {founder.name} for the password of root")
        if status.split()[1:2] == ["P"]:
            raise Conflict(
                f"root of {founder.name} has a password",
                why="joining needs one for a minute, and the image has none; yours would be overwritten",
                fix=f"on {founder.name}: passwd -l root; then materialize proxmox/cluster again",
            )
        password = SecretStr(secrets.token_urlsafe(32))
        intent = self.journal.intend(PASSWORD, founder.machine, now=datetime.now(UTC))
        founder.run(["chpasswd"], given=SecretStr(f"root:{password.get_secret_value()}\n")).checked(
            f"give root of {founder.name} a password"
        )
        try:
            yield password
        finally:
            founder.run(["passwd", "-l", "root"]).checked(f"lock the password of root of {founder.name}")
            self.journal.close(intent, "locked again")

    def _lock_again(self) -> None:
        """A process that died while a node joined has left a password behind."""
        for intent in self.journal.open_intents(PASSWORD):
            for node in self.nodes:
                if node.machine == intent.subject:
                    node.run(["passwd", "-l", "root"]).checked(f"lock the password of root of {node.name}")
                    self.journal.close(intent, "locked again")

    def _await_open_joins(self) -> None:
        for intent in self.journal.open_intents(MOVES["join"]):
            left = (intent.deadline - datetime.now(UTC)).total_seconds()
            node = next((node for node in self.nodes if node.name == intent.subject), None)
            if node is not None and left > 0:
                self.say(f"a join of {node.name} was under way; wait for its end")
                try:
                    self._wait(
                        lambda node=node: _is_settled(node),  # type: ignore[misc]
                        bool,
                        f"{node.name} has joined, or has not begun to",
                        min(left, SETTLE_SECONDS),
                    )
                except TimedOut:
                    self.say(f"{node.name} has not finished joining")
            self.journal.close(intent, "looked at again")

    # names ------------------------------------------------------------------------------------------------------------

    def _take_new_name(self, node: Node) -> None:
        """The daemons of a node outside of any cluster take its address anew, and so does its certificate."""
        if node.has("/etc/pve/corosync.conf"):
            return
        node.run(["systemctl", "restart", "pve-cluster"]).checked(f"restart pve-cluster of {node.name}")
        node.run(["pvecm", "updatecerts", "--force"]).checked(f"renew the certificate of {node.name}")
        node.run(["systemctl", "restart", "pvedaemon", "pveproxy"]).checked(f"restart the API of {node.name}")
        self._wait(lambda: node.has(CERTIFICATE), bool, f"{node.name} has a certificate")

    def _resolves(self, node: Node, addresses: Mapping[str, str]) -> None:
        for name, address in addresses.items():
            found = node.run(["getent", "hosts", name]).stdout.split()[:1]
            if found != [address]:
                raise NotVerified(
                    f"on {node.name} the name {name} stands for {found[0] if found else 'nothing'}",
                    why=f"it has to be {address}, or Proxmox puts another address into its cluster",
                    fix=f"look at /etc/hosts and /etc/nsswitch.conf of {node.name}",
                )

    def _node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    def _wait(
        self,
        read: Callable[[], Seen],
        done: Callable[[Seen], bool],
        what: str,
        seconds: float = SETTLE_SECONDS,
    ) -> Seen:
        return wait_for(patient(read), done, what=what, timeout=seconds, pause=Pause(1, 5), clock=self.clock)


def cluster_name(deployment: str) -> str:
    """Proxmox takes 15 characters."""
    return deployment[:15].rstrip("-")


def _is_settled(node: Node) -> bool:
    try:
        view = view_of(node)
    except OcifreeError:
        return False
    return view.quorate if view.cluster else not view.has_key


def _between_nodes(addresses: Iterable[str]) -> str:
    listed = ",".join(addresses)
    return (
        "# Proxmox moves guests between its nodes as root over SSH, by key; from elsewhere root stays out.\n"
        f"Match Address {listed}\n"
        "    PermitRootLogin prohibit-password\n"
        "Match all\n"
    )


def _last_words(told: str) -> str:
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    return " / ".join(lines[-3:])[:400] or "the command said nothing"
