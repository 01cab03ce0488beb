"""The third vote of a cluster of two: a daemon on the bastion that says which of them goes on alone.

`pvecm qdevice setup` works over SSH as root from a node to the bastion, where root is not let in. So the node's key is
let in for as long as that takes, from its address and no other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.oci.waiting import Clock, Pause, TimedOut, wait_for
from ocifree_pipeline.systems.proxmox.node import PRIVATE, Node

SERVER, CLIENT = "corosync-qnetd", "corosync-qdevice"
PORT = 5403
ROOTS_HOME = "/root"
ROOTS_SSH = f"{ROOTS_HOME}/.ssh"
KEY = f"{ROOTS_SSH}/id_rsa.pub"
KNOWN_HOSTS = f"{ROOTS_SSH}/known_hosts"
LET_IN = "/etc/ssh/sshd_config.d/01-ocifree-qdevice.conf"
KEYS = "/etc/ocifree/qdevice-keys"
INSTALL_SECONDS = 900.0
SETUP_SECONDS = 180.0
CONNECTED_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class ThirdVote:
    """`host_keys` are the bastion's own, as known_hosts has them after the address."""

    bastion: Node
    nodes: Sequence[Node]
    host_keys: Sequence[str]
    say: Callable[[str], None]
    clock: Clock = time

    def ensure(self) -> list[str]:
        """It votes. Returns what was done."""
        lines = []
        for machine, package in ((self.bastion, SERVER), *((node, CLIENT) for node in self.nodes)):
            if _install(machine, package):
                lines.append(f"install {package} on {machine.name}")
        standing = [node for node in self.nodes if _standing(node)]
        anew = self._why_anew(standing)
        if anew is not None:
            self.say(f"the third vote is set up anew: {anew}")
            standing[0].run(["pvecm", "qdevice", "remove"], SETUP_SECONDS).checked("take the third vote away")
            lines.append(f"take the third vote away: {anew}")
            standing = []
        if not standing:
            self.say(f"let {self.bastion.name} vote")
            self._set_up()
            lines.append(f"let {self.bastion.name} be the third vote")
        elif self.bastion.has(LET_IN):
            self._shut()
            lines.append(f"shut out again whom a set-up that broke off had let in at {self.bastion.name}")
        self._votes()
        return lines

    def _set_up(self) -> None:
        node, bastion = self.nodes[0], self.bastion
        known = node.text(KNOWN_HOSTS) if node.has(KNOWN_HOSTS) else ""
        missing = [line for key in self.host_keys if (line := f"{bastion.address} {key}") not in known.splitlines()]
        if missing:
            node.put(KNOWN_HOSTS, known + "".join(f"{line}\n" for line in missing), PRIVATE)
        bastion.put(KEYS, f'from="{node.address}" {node.text(KEY)}', PRIVATE)
        bastion.put(
            LET_IN,
            f"Match Address {node.address}\n    PermitRootLogin prohibit-password\n    AuthorizedKeysFile {KEYS} "
            ".ssh/authorized_keys\nMatch all\n",
        )
        try:
            bastion.run(["systemctl", "reload", "ssh"]).checked(f"let root of {node.name} into {bastion.name}")
            node.run(["pvecm", "qdevice", "setup", bastion.address], SETUP_SECONDS).checked("set up the third vote")
        finally:
            self._shut()

    def _shut(self) -> None:
        self.bastion.run(["rm", "-f", LET_IN, KEYS]).checked(f"shut root out of {self.bastion.name}")
        self.bastion.run(["systemctl", "reload", "ssh"]).checked(f"shut root out of {self.bastion.name}")

    def _why_anew(self, standing: Sequence[Node]) -> str | None:
        """Its certificates were made for the nodes and the bastion of that time; whoever came later has none."""
        if not standing:
            return None
        if len(standing) < len(self.nodes):
            return f"{', '.join(node.name for node in self.nodes if node not in standing)} has to know of it too"
        host = str(_standing(standing[0]).get("QNetd host", "")).rpartition(":")[0]
        if host not in ("", self.bastion.address):
            return f"it is at {host}, and {self.bastion.name} at {self.bastion.address}"
        try:
            self._wait_until_connected()
        except TimedOut:
            return f"the nodes do not reach it; {self.bastion.name} may be another machine than before"
        return None

    def _votes(self) -> None:
        try:
            self._wait_until_connected()
        except TimedOut as error:
            raise NotVerified(
                "the third vote is not connected",
                why=f"{error.why}; the nodes need TCP {PORT} of {self.bastion.name}",
                fix="ocifree up --select 'oci/network' opens the port; on a node: pvecm status",
            ) from error

    def _wait_until_connected(self) -> None:
        wait_for(
            lambda: [str(_standing(node).get("State", "")) for node in self.nodes],
            lambda found: all(state.startswith("Connected") for state in found),
            what="the third vote is connected to every node",
            timeout=CONNECTED_SECONDS,
            pause=Pause(1, 10),
            clock=self.clock,
        )


def _standing(node: Node) -> dict[str, Any]:
    found = node.ask("/cluster/config/qdevice")
    return found if isinstance(found, dict) else {}


def _install(machine: Node, package: str) -> bool:
    if machine.run(["dpkg-query", "-W", "-f=${db:Status-Status}", package]).stdout.strip() == "installed":
        return False
    machine.run(["apt-get", "-q", "update"], INSTALL_SECONDS).checked(f"read the package lists of {machine.name}")
    machine.run(["apt-get", "-q", "-y", "install", package], INSTALL_SECONDS).checked(
        f"install {package} on {machine.name}"
    )
    return True
