"""A Kubernetes cluster as the machines that carry it see it.

    cluster = create(world, "lab", Settings(version="v1.36.3"))
    cluster.add_node("node-1", Machine(addresses=("10.0.1.10",), control_plane=True, cpus=2, memory_gb=12))
    cluster.bootstrap({"cilium-install": "apiVersion: batch/v1..."}, ["https://github.com/.../install.yaml"])

All state is JSON in ``world.facts``; what is made from it (history, queues of controllers) is made anew after a
restore.
"""

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from ocifree_pipeline.sandbox.kubernetes.api import Api
from ocifree_pipeline.sandbox.kubernetes.running import Runner
from ocifree_pipeline.sandbox.kubernetes.store import Store
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at, clone
from ocifree_pipeline.sandbox.world import World, transition

FACTS = "kubernetes"


@dataclass(frozen=True, slots=True)
class Settings:
    version: str = "v1.36.3"
    pod_cidr: str = "10.244.0.0/16"
    service_cidr: str = "10.96.0.0/12"
    endpoint: str = ""
    certificate: str = ""
    """Of the authority that signed the API server's, as pods find it in their namespace."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the kubelet of a node tells about the machine that it runs on. ``external_addresses`` are public ones."""

    addresses: tuple[str, ...]
    external_addresses: tuple[str, ...] = ()
    control_plane: bool = False
    cpus: float = 2
    memory_gb: float = 12
    architecture: str = "arm64"
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[tuple[str, str, str], ...] = ()
    """Key, value and effect of each."""
    os_image: str = "Talos"
    kernel: str = "6.18.0-talos"
    kubelet: str = ""
    provider_id: str = ""
    external_cloud_provider: bool = False


class Cluster:
    def __init__(self, world: World, ident: str, state: Tree) -> None:
        self._world = weakref.ref(world)
        self.ident = ident
        self.state = state
        self.store = Store(state.setdefault("store", {}))
        self.api = Api(self.store, self.settings, now=world.clock.now, fresh=self._fresh, secret=state["secret"])
        self.runner = Runner(self.world, ident, self.api, state)
        self.api.furnish()

    @property
    def world(self) -> World:
        world = self._world()
        if world is None:
            raise LookupError("the world of this cluster has gone")
        return world

    @property
    def settings(self) -> Settings:
        return Settings(**self.state["settings"])

    # machines -------------------------------------------------------------------------------------------------------

    def add_node(self, name: str, machine: Machine) -> None:
        """The kubelet of a machine registers, or comes back after a boot. What it tells replaces what it told."""
        self.state["machines"][name] = {"running": True, "since": self._now()} | clone_fields(machine)
        self.runner.wake("nodes", name)

    def remove_node(self, name: str) -> None:
        """The machine left the cluster for good: its node is deleted."""
        if self.state["machines"].pop(name, None) is not None:
            self.runner.wake("nodes", name)

    def set_node_ready(self, name: str, ready: bool) -> None:
        """Whether the kubelet of the machine runs. A node without a kubelet is NotReady once it is missed."""
        machine = self.state["machines"].get(name)
        if machine is not None and machine["running"] != ready:
            machine.update(running=ready, since=self._now())
            self.runner.wake("nodes", name)

    def nodes(self) -> dict[str, bool]:
        """Each node, and whether it is Ready."""
        return {one["metadata"]["name"]: _is_ready(one) for one in self.store.all("nodes")}

    def has_network(self, name: str) -> bool:
        """Whether a network plugin runs on the node."""
        conditions = at(self.store.get("nodes", "", name), "status", "conditions", default=[])
        return any(one["type"] == "NetworkUnavailable" and one["status"] == "False" for one in conditions)

    # manifests ------------------------------------------------------------------------------------------------------

    def bootstrap(self, manifests: Mapping[str, str], urls: Iterable[str] = ()) -> None:
        """Apply YAML texts by name, and what stands at addresses, as Talos does when the API comes up.

        What cannot be applied yet is tried again. ``manifest_problems`` tells what is left.
        """
        known: Tree = self.state["manifests"]
        for name, text in (*manifests.items(), *((url, "") for url in urls)):
            known[name] = {"text": text, "url": not text, "problem": "", "done": []}
            self.runner.wake("manifests", name)

    def manifest_problems(self) -> dict[str, str]:
        return {name: one["problem"] for name, one in self.state["manifests"].items() if one["problem"]}

    def publish(self, url: str, commit: str, files: Mapping[str, str]) -> None:
        """Let a Git repository hold these files, for Flux to fetch."""
        self.state["repositories"][url] = {"commit": commit, "files": dict(files)}
        for one in self.store.all("gitrepositories.source.toolkit.fluxcd.io"):
            if one["spec"]["url"] == url:
                self.runner.wake("gitrepositories", f"{one['metadata']['namespace']}/{one['metadata']['name']}")

    # who may speak --------------------------------------------------------------------------------------------------

    def trust_token(self, token: str, user: str, groups: Iterable[str] = ()) -> None:
        """Let a bearer token speak for a user."""
        self.state["tokens"][self.api.digest(token)] = {"user": user, "groups": list(groups)}

    # the whole ------------------------------------------------------------------------------------------------------

    def dump(self) -> Tree:
        """What an etcd snapshot holds."""
        state: Tree = clone(self.state["store"])
        return state

    def load(self, dumped: Tree) -> None:
        """The objects of a snapshot, under resource versions that no client has seen."""
        revision = max(int(dumped["revision"]), self.store.revision) + 1
        self.state["store"] = clone(dumped) | {"revision": revision}
        forget(self.world, self.ident)
        find_existing(self.world, self.ident).runner.wake_all()

    def settle(self) -> None:
        """Let the controllers work until nothing is left to do now."""
        self.runner.run()

    def _fresh(self, purpose: str, length: int) -> str:
        return self.world.fresh(f"kubernetes/{self.ident}/{purpose}", length)

    def _now(self) -> str:
        return self.api.stamp()


_CLUSTERS: WeakKeyDictionary[World, dict[str, Cluster]] = WeakKeyDictionary()


def create(world: World, ident: str, settings: Settings | None = None) -> Cluster:
    """A cluster without nodes; the one that is there if there is one."""
    states: dict[str, Any] = world.facts.setdefault(FACTS, {})
    if ident not in states:
        states[ident] = {
            "settings": asdict(settings or Settings()),
            "secret": world.fresh(f"kubernetes/{ident}/secret", 52),
            "machines": {},
            "manifests": {},
            "tokens": {},
            "queue": [],
            "waking": {},
            "repositories": {},
        }
    return find_existing(world, ident)


def find(world: World, ident: str) -> Cluster | None:
    return find_existing(world, ident) if ident in world.facts.get(FACTS, {}) else None


def find_existing(world: World, ident: str) -> Cluster:
    """The cluster; KeyError when there is none. It is made anew when the world was replaced by another."""
    state = world.facts[FACTS][ident]
    known = _CLUSTERS.setdefault(world, {})
    found = known.get(ident)
    if found is None or found.state is not state:
        found = known[ident] = Cluster(world, ident, state)
    return found


def remove(world: World, ident: str) -> None:
    world.facts.get(FACTS, {}).pop(ident, None)
    forget(world, ident)


def forget(world: World, ident: str) -> None:
    """Drop what was made from the state; it is made anew when somebody asks."""
    _CLUSTERS.get(world, {}).pop(ident, None)


def clone_fields(machine: Machine) -> Tree:
    fields: Tree = asdict(machine)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def _is_ready(node: Tree) -> bool:
    conditions = at(node, "status", "conditions", default=[])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


@transition("kubernetes.wake")
def _wake(world: World, cluster: str, controller: str, key: str) -> None:
    found = find(world, cluster)
    if found is not None:
        found.runner.due(controller, key)
        found.runner.run()
