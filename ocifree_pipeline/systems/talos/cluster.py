"""From nodes to a cluster: each follows its configuration, etcd is founded once, and all members agree on a leader."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import AuthFailed, NeedsConfirmation, NotVerified, Transient
from ocifree_pipeline.systems.journal import Journal
from ocifree_pipeline.systems.oci.waiting import Clock, Pause, wait_for
from ocifree_pipeline.systems.talos.channel import LOOK_AGAIN, AlreadyDone, NotYet
from ocifree_pipeline.systems.talos.client import Member, Talos, Version
from ocifree_pipeline.systems.talos.nodes import Role

BOOTSTRAP = "talos.bootstrap"
ETCD = "etcd"
ASK_SECONDS = 15.0
PREPARING = "Preparing"
"""What etcd is while nobody has founded a cluster that it could join."""


@dataclass(frozen=True, slots=True)
class Place:
    """One node of the cluster, and the address that its certificate names."""

    number: int
    hostname: str
    role: Role
    address: str

    @property
    def is_control_plane(self) -> bool:
        return self.role == "controlplane"


@dataclass(frozen=True, slots=True)
class Nodes:
    """All nodes, and the way to each."""

    places: tuple[Place, ...]
    open: Callable[[Place], AbstractContextManager[Talos]]

    @property
    def control_planes(self) -> tuple[Place, ...]:
        return tuple(place for place in self.places if place.is_control_plane)


@dataclass(frozen=True, slots=True)
class EtcdView:
    """How etcd looks from each control plane. `leaders` holds those that know one; `problems` say why others do not.

    `own` says as which member a control plane takes part: a machine that was made again is another than the one before.
    """

    members: tuple[Member, ...] = ()
    preparing: tuple[str, ...] = ()
    leaders: Mapping[str, int] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, int] = field(default_factory=dict)

    @property
    def voters(self) -> frozenset[int]:
        return frozenset(one.id for one in self.members if not one.is_learner)

    @property
    def has_quorum(self) -> bool:
        return bool(self.members) and len(self.voters & set(self.own.values())) > len(self.voters) // 2

    @property
    def replaced(self) -> tuple[Member, ...]:
        """Members whose machine may be gone: who answers at their place shows no etcd, or is another member."""
        mine = set(self.own.values())
        return tuple(
            one
            for one in self.members
            if one.id not in mine and (one.hostname in self.own or one.hostname in self.preparing)
        )

    @property
    def leader(self) -> str:
        agreed = set(self.leaders.values())
        return next((one.hostname for one in self.members if agreed == {one.id}), "nobody")

    def missing(self, control_planes: Iterable[Place]) -> list[str]:
        """What keeps etcd from being whole, node by node."""
        voters = {name for name, member in self.own.items() if member in self.voters}
        found = [f"{name}: {why}" for name, why in self.problems.items()]
        found += [f"{name} waits to join" for name in self.preparing]
        known = {*self.problems, *self.preparing}
        found += [
            f"{place.hostname} is no member"
            for place in control_planes
            if place.hostname not in voters and place.hostname not in known
        ]
        return found

    def __str__(self) -> str:
        said = f"{len(self.leaders)} of {len(self.members)} members follow {self.leader}"
        if self.members:
            return said
        waiting = [f"{name} waits to be bootstrapped" for name in self.preparing]
        return "; ".join([*waiting, *(f"{name}: {why}" for name, why in self.problems.items())]) or "nobody answers"


# nodes ----------------------------------------------------------------------------------------------------------------


def wait_until_configured(
    nodes: Nodes, place: Place, *, timeout: float, clock: Clock = time, strangers_pass: bool = False
) -> Version:
    """What runs on the node, once it lets an administrator of the cluster in.

    With `strangers_pass`, whoever else answers meanwhile is waited out.
    """

    def read() -> Version:
        try:
            with nodes.open(place) as node:
                return node.version()
        except AuthFailed as error:
            if strangers_pass:
                raise Transient(error.what, why=error.why, fix=error.fix) from error
            raise

    return wait_for(
        read, lambda seen: True, what=f"{place.hostname} lets us in", timeout=timeout, pause=Pause(2, 15), clock=clock
    )


def follow(nodes: Nodes, place: Place, configuration: SecretStr) -> bool:
    """Whether the configuration had to be sent. A node that follows it already is left alone."""
    with nodes.open(place) as node:
        if not node.compare(configuration).differs:
            return False
        node.apply(configuration)
    with nodes.open(place) as node:
        if node.compare(configuration).differs:
            raise NotVerified(
                f"{place.hostname} does not follow its configuration",
                why="it took it, and a comparison still finds differences",
                fix=f"`talosctl --nodes {place.address} get machineconfig` shows what it follows",
            )
    return True


# etcd -----------------------------------------------------------------------------------------------------------------


def look_at_etcd(nodes: Nodes) -> EtcdView:
    """Ask every control plane. One that does not answer is a problem, not an error."""
    members: tuple[Member, ...] = ()
    preparing, leaders, problems, own = [], {}, {}, {}
    for place in nodes.control_planes:
        try:
            with nodes.open(place) as node:
                service = node.services().get(ETCD)
                if service is None or service.state == PREPARING:
                    preparing.append(place.hostname)
                    continue
                status = node.etcd()
                if not status.leader or status.errors:
                    problems[place.hostname] = "; ".join(status.errors) or "it knows no leader"
                    continue
                members = node.members()
                leaders[place.hostname], own[place.hostname] = status.leader, status.member
        except Transient as error:
            problems[place.hostname] = f"{error.what}: {error.why}"
    return EtcdView(members, tuple(preparing), leaders, problems, own)


def bootstrap_once(
    nodes: Nodes,
    cluster: str,
    journal: Journal,
    *,
    was_founded: bool,
    now: Callable[[], datetime],
    timeout: float,
    clock: Clock = time,
) -> bool:
    """Found etcd on the first control plane, unless it was founded before; whether that was done now.

    `was_founded` is what the record says. An etcd that was there and is on no node any more is never replaced by an
    empty one: whatever was in the cluster would be gone without a word.
    """
    view = wait_for(
        lambda: look_at_etcd(nodes),
        lambda seen: bool(seen.members) or (bool(seen.preparing) and not seen.problems),
        what="the control planes say whether etcd was founded",
        timeout=timeout,
        clock=clock,
    )
    open_intents = [one for one in journal.open_intents(BOOTSTRAP) if one.subject == cluster]
    if len(view.preparing) < len(nodes.control_planes):
        for intent in open_intents:
            journal.close(intent, "it was done")
        return False
    if was_founded and not open_intents:
        raise NeedsConfirmation(
            f"etcd of {cluster} is on none of its control planes any more",
            why="it was founded and recorded, and every control plane waits to be bootstrapped now: their disks are "
            "new. An empty etcd would be another cluster",
            fix="restore a backup of etcd: `ocifree restore`. If nothing of the old cluster is wanted, forget it: "
            """`dagster asset wipe '["talos", "cluster"]'`""",
        )
    first = nodes.control_planes[0]
    intent = journal.intend(BOOTSTRAP, cluster, {"node": first.hostname}, now=now())

    start_etcd(nodes, lambda node: node.bootstrap(), timeout=timeout, clock=clock)
    journal.close(intent, "etcd lists its first member")
    return True


def start_etcd(nodes: Nodes, start: Callable[[Talos], None], *, timeout: float, clock: Clock) -> None:
    """Until the first control plane has taken `start`, and etcd lists it as a member."""
    first = nodes.control_planes[0]

    def ask() -> bool:
        with nodes.open(first) as node:
            try:
                start(node)
            except AlreadyDone:
                return True
            except NotYet:
                return False
        return True

    wait_for(ask, bool, what=f"{first.hostname} is ready for bootstrap", timeout=timeout, clock=clock)
    wait_for(
        lambda: look_at_etcd(nodes),
        lambda seen: any(one.hostname == first.hostname for one in seen.members),
        what=f"etcd has {first.hostname} as a member",
        timeout=timeout,
        clock=clock,
    )


def wait_for_etcd(nodes: Nodes, say: Callable[[str], None], *, timeout: float, clock: Clock = time) -> EtcdView:
    """Every control plane a voting member, and all of them with a leader."""
    told: list[str] = []

    def look() -> EtcdView:
        seen = look_at_etcd(nodes)
        missing = seen.missing(nodes.control_planes)
        if missing and missing != told:
            say(f"etcd: {seen}; {'; '.join(missing)}")
        told[:] = missing
        return seen

    def whole(seen: EtcdView) -> bool:
        return seen.has_quorum and not seen.missing(nodes.control_planes)

    return wait_for(look, whole, what="etcd is whole", timeout=timeout, pause=Pause(2, 15), clock=clock)


# kubernetes -----------------------------------------------------------------------------------------------------------


def ask_api_server(address: tuple[str, int], authority: str, host: str) -> str:
    """What it says to a stranger who asks whether it is ready. That it is the one of this cluster is checked first."""
    import ssl

    import urllib3

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority)
    pool = urllib3.HTTPSConnectionPool(*address, ssl_context=context, server_hostname=host, timeout=ASK_SECONDS)
    try:
        answer = pool.request("GET", "/readyz", headers={"Host": host}, retries=False)
    except urllib3.exceptions.SSLError as error:
        if "CERTIFICATE_VERIFY_FAILED" not in str(error):
            raise _silent(error) from error
        raise NotVerified(
            "whoever answers for Kubernetes is not this cluster",
            why="its certificate is not of the authority that the vault holds",
            fix="ocifree verify --select 'talos/secrets' compares the vault with the record",
        ) from error
    except urllib3.exceptions.HTTPError as error:
        raise _silent(error) from error
    finally:
        pool.close()
    said = answer.data[:200].decode("utf-8", "replace").strip()
    if answer.status != 200:
        raise Transient("the Kubernetes API is not ready", why=f"{answer.status} {said}", fix=LOOK_AGAIN)
    return said


def _silent(error: Exception) -> Transient:
    return Transient("the Kubernetes API does not answer", why=" ".join(str(error).split())[:200], fix=LOOK_AGAIN)
