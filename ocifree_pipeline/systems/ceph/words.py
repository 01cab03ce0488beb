"""Ask Ceph on a node, and say what a refusal means. Exit code 0 proves nothing: `pveceph pool create` lies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import (
    Conflict,
    LimitReached,
    NotVerified,
    OcifreeError,
    PreconditionMissing,
    Refused,
    Transient,
)
from ocifree_pipeline.systems.proxmox.node import Node
from ocifree_pipeline.systems.ssh.dialer import Result

ASK_SECONDS = 60.0
CHANGE_SECONDS = 600.0
CONNECT_SECONDS = 20


@dataclass(frozen=True, slots=True)
class _Meaning:
    kind: type[OcifreeError]
    fix: str


_MEANINGS: Mapping[str, _Meaning] = MappingProxyType(
    {
        "is already in use": _Meaning(Conflict, "look at what is on it with `lsblk -f`; nothing was changed"),
        "is not available: it is in use": _Meaning(Conflict, "look at what is on it with `lsblk -f`"),
        "unable to get device info": _Meaning(
            Refused, "Proxmox takes partitions of disks only; a logical volume goes through ceph-volume"
        ),
        "unable to find a keyring": _Meaning(Transient, "the key for new OSDs was not there yet; look again"),
        "RADOS timed out": _Meaning(
            Transient, "too few monitors answer; `systemctl status ceph-mon@$(hostname)` on each node says why"
        ),
        "Could not connect to ceph cluster": _Meaning(
            Transient, "too few monitors answer; `systemctl status ceph-mon@$(hostname)` on each node says why"
        ),
        "no quorum": _Meaning(PreconditionMissing, "ocifree up --select 'proxmox/cluster'"),
        "got lock request timeout": _Meaning(Transient, "somebody else changes the cluster; look again in a minute"),
        "Could not get lock": _Meaning(Transient, "another package run is under way; look again in a minute"),
        "No active IP found": _Meaning(Refused, "network.private_subnet and the node's own address do not agree"),
        "Multiple IPs for ceph": _Meaning(Refused, "the node has two addresses in the private subnet; keep one"),
        "not configured or up on": _Meaning(Refused, "the node does not have the address that Oracle says it has"),
        "binary not installed": _Meaning(PreconditionMissing, "ocifree up --select 'images/proxmox_ampere+'"),
        "Ceph Nautilus required": _Meaning(PreconditionMissing, "ocifree up --select 'images/proxmox_ampere+'"),
        "configuration not initialized": _Meaning(PreconditionMissing, "ocifree up --select 'proxmox/ceph'"),
        "monitor filesystem": _Meaning(
            Conflict, "a monitor of an earlier life is on this node; `pveceph mon destroy` removes it"
        ),
        "monitor address": _Meaning(Conflict, "two nodes claim one address; look at /etc/pve/ceph.conf"),
        "ceph manager directory": _Meaning(
            Conflict, "a manager of an earlier life is on this node; `pveceph mgr destroy` removes it"
        ),
        "mon_max_pg_per_osd": _Meaning(LimitReached, "fewer placement groups, or more OSDs"),
        "belongs to another cluster": _Meaning(Conflict, "`ceph-volume lvm list` on the node shows whose it is"),
        "Could not create partition": _Meaning(Conflict, "the table has changed meanwhile; look at it with `lsblk`"),
        "401  Unauthorized": _Meaning(Refused, "that repository needs a subscription"),
    }
)


def refusal(node: Node, doing: str, result: Result) -> OcifreeError:
    """The error behind what a command said."""
    said = (result.stderr.strip() or result.stdout.strip() or "it said nothing").splitlines()
    for text, meaning in _MEANINGS.items():
        line = next((line for line in said if text in line), None)
        if line is not None:
            return meaning.kind(f"{node.machine}: {doing} failed", why=line.strip()[:300], fix=meaning.fix)
    return NotVerified(
        f"{node.machine}: {doing} failed with status {result.exit}",
        why=said[-1].strip()[:300],
        fix="look at the node; materializing again looks first and goes on where it stopped",
    )


def change(
    node: Node, argv: Sequence[str], doing: str, *, timeout: float = CHANGE_SECONDS, given: SecretStr | None = None
) -> Result:
    """Run something that changes the node or the cluster. That it ends well is not yet a proof."""
    result = node.run(list(argv), timeout, given)
    if result.exit != 0:
        raise refusal(node, doing, result)
    return result


def ask(node: Node, argv: Sequence[str], doing: str) -> str:
    result = node.run(list(argv), ASK_SECONDS)
    if result.exit != 0:
        raise refusal(node, doing, result)
    return result.stdout


def ask_ceph(node: Node, *words: str) -> Any:
    """The answer of `ceph ... --format json`."""
    argv = ["ceph", "--connect-timeout", str(CONNECT_SECONDS), *words, "--format", "json"]
    return as_json(node, ask(node, argv, f"ceph {' '.join(words)}"), f"ceph {' '.join(words)}")


def as_json(node: Node, text: str, doing: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise NotVerified(
            f"{node.machine}: the answer to {doing} is no JSON",
            why=text.strip()[:200] or "it is empty",
            fix="another release of Ceph may be installed; `ceph versions` says which",
        ) from error
