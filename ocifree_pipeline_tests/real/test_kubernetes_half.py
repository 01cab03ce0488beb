"""The Kubernetes half of the pipeline with a real control plane behind the kubeconfig that Talos gives.

Oracle, the machines and Talos are the sandbox's. Port 6443 of the node leads to kube-apiserver with etcd, whose
certificates are of the authority in the machine configuration, and the controller manager and the scheduler work for
it. Kubelets, Cilium and Flux are those of the sandbox, over HTTP, whenever somebody waits; what is there then is copied
to where the rest of the sandbox looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
import yaml

from ocifree_pipeline.deployment.blueprint import blueprint_of
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.sandbox.grafana import stack
from ocifree_pipeline.sandbox.kubernetes import cluster as clusters
from ocifree_pipeline.sandbox.kubernetes import remote
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, clone
from ocifree_pipeline.sandbox.machines import talos
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.talos.node import Node, nodes
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline.systems.talos.certificates import Pair
from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.native import CLUSTER, CONFIG, KUBECONFIG, Standing, standing
from ocifree_pipeline_tests.assets.proxmox.test_monitoring import MONITORING, now
from ocifree_pipeline_tests.assets.test_platform_on_oracle import PLATFORM
from ocifree_pipeline_tests.real.control_plane import ControlPlane, control_plane
from ocifree_pipeline_tests.real.programs import program
from ocifree_pipeline_tests.real.test_controllers import THEIRS
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox

pytestmark = [pytest.mark.real("kube-apiserver"), pytest.mark.timeout(600), pytest.mark.xdist_group("kube-apiserver")]

DELIVERED = (*PLATFORM, "platform/tailscale_operator", *MONITORING)
ROBOT = "sandbox"
QUIET_SECONDS = 0.5
HEARTBEATS = "coordination.k8s.io/v1/leases"
REALLY = SimpleNamespace(sleep=time.sleep)


class Elsewhere:
    """In the place of the controllers inside: it only notes what they were woken for."""

    woken: dict[tuple[str, str], None]

    def __init__(self, _world: World, _cluster: str, _api: Any, _state: Tree) -> None:
        self.woken = {}

    def wake(self, controller: str, key: str) -> None:
        self.woken[controller, key] = None

    due = wake

    def run(self) -> None:
        """They do it elsewhere."""

    wake_all = run


@dataclass
class Tunnel:
    """A port of a machine that leads to a port of this computer, as it is: TLS is between the two ends."""

    port: int
    server: asyncio.Server | None = None
    talks: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self, _machine: Computer, listening: socket.socket) -> Tunnel:
        found = Tunnel(self.port)
        found.server = await asyncio.start_server(found._accept, sock=listening)
        return found

    def close(self) -> None:
        assert self.server is not None
        self.server.close()
        for one in self.talks:
            one.cancel()

    async def wait_closed(self) -> None:
        await asyncio.gather(*self.talks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._talk(reader, writer))
        self.talks.add(task)
        task.add_done_callback(self.talks.discard)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        finally:
            back.close()
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


@dataclass
class Behind:
    """The real cluster of the sandbox's only one."""

    plane: ControlPlane
    sandbox: RunningSandbox
    controllers: remote.Remote
    seen: dict[str, str] = field(default_factory=dict)
    works: bool = False

    def work(self) -> None:
        """Let the controllers do what is to be done."""
        found = self.sandbox.inside(_the_cluster)
        if found is None or self.works:
            return
        self.works = True
        try:
            state = self.controllers.state = found.state
            woken, found.runner.woken = found.runner.woken, {}
            left = (("manifests", name) for name, one in state["manifests"].items() if one["problem"])
            looks = self.controllers.converge(*woken, *left)
            while looks > 1:  # the real ones work beside us and do not say when they are done
                REALLY.sleep(QUIET_SECONDS)
                looks = self.controllers.converge()
            things = list(self.controllers._everything())
            self.sandbox.inside(lambda _: self._copy(found, things))
        finally:
            self.works = False

    def versions(self) -> dict[str, str]:
        """Of everything but heartbeats."""
        return {
            f"{place} {tree['metadata'].get('namespace', '')}/{tree['metadata']['name']}": str(
                tree["metadata"]["resourceVersion"]
            )
            for place, tree in self.controllers._everything()
            if place != HEARTBEATS
        }

    def _copy(self, cluster: Any, things: list[tuple[str, Tree]]) -> None:
        known = {
            (kind.resource, f"{tree['metadata'].get('namespace', '')}/{tree['metadata']['name']}"): tree
            for _, tree in things
            if (kind := cluster.api.kind(tree["apiVersion"], tree["kind"])) is not None
        }
        for kind in list(cluster.api.kinds()):
            for tree in cluster.store.all(kind.resource):
                at = f"{tree['metadata'].get('namespace', '')}/{tree['metadata']['name']}"
                if (kind.resource, at) not in known:
                    cluster.store.remove(kind.resource, tree)
        # Definitions are first, as the kinds that they bring are not known before.
        for (resource, _), tree in sorted(known.items(), key=lambda one: "customresourcedef" not in one[0][0]):
            uid, version = tree["metadata"]["uid"], str(tree["metadata"]["resourceVersion"])
            if self.seen.get(uid) != version:
                self.seen[uid] = version
                cluster.store.put(resource, clone(tree))


def _the_cluster(world: World) -> Any:
    idents = list(world.facts.get(clusters.FACTS, {}))
    return clusters.find(world, idents[0]) if idents else None


def _names(world: World) -> tuple[Pair, tuple[str, ...]]:
    """Whom the API server is signed by and what it is called, as the configuration of its machine says."""
    (node,) = nodes(world)
    settings, configuration = Node(node.computer).settings, node.configuration
    assert settings is not None
    assert configuration is not None
    names = (node.hostname, *node.computer.addresses, *configuration.alternative_names, *settings.api_names)
    return Pair(*settings.kubernetes_ca), names


@pytest.fixture(scope="module")
def stood(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        program(name)
    with standing(tmp_path_factory.mktemp("native")) as found:
        yield found


@pytest.fixture
def behind(stood: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Behind, Deployment]]:
    sandbox = stood.ground.sandbox
    authority, names = sandbox.inside(_names)
    with (
        control_plane(tmp_path, controllers=True, authority=authority, names=names) as plane,
        plane.session(ROBOT) as speaking,
    ):
        ask = remote.over_http(speaking, f"https://127.0.0.1:{plane.port}")
        here = Behind(plane, sandbox, remote.Remote(ask, {}, THEIRS))
        advance = RunningSandbox.advance

        def wait(found: RunningSandbox, seconds: float) -> None:
            advance(found, seconds)
            here.work()

        with monkeypatch.context() as patch:
            patch.setattr(remote, "time", REALLY)
            patch.setattr(clusters, "Runner", Elsewhere)
            patch.setattr(talos, "_serve_kubernetes", Tunnel(plane.port).open)
            patch.setattr(RunningSandbox, "advance", wait)
            with stood.again(tmp_path / "home", patch) as native:
                yield here, native


def declared(native: Deployment, patch: pytest.MonkeyPatch) -> Deployment:
    """All that there is for a cluster on machines of Oracle, declared after they have come."""
    offered = native.sandbox.inside(stack.offered)
    patch.setenv("GRAFANA_CLOUD_TOKEN", offered["token"])
    patch.setenv("GRAFANA_SERVICE_ACCOUNT_TOKEN", offered["service_account_token"])
    patch.setenv("TS_CLIENT", "only-in-this-test")
    patch.setattr("ocifree_pipeline.checks.monitoring.now", lambda: now(native))
    data = yaml.safe_load(yaml.safe_dump(native.blueprint.declaration.model_dump(mode="json", exclude_unset=True)))
    data["monitoring"] = yaml.safe_load(example("proxmox-ceph"))["monitoring"]
    data["kubernetes"] |= {"namespaces": {"web": {"cpu": "500m", "memory": "512Mi"}}}
    data["kubernetes"] |= {"tailscale_operator": {"enabled": True}}
    oauth = dict.fromkeys(("client_id", "client_secret"), "env:TS_CLIENT")
    data["access"]["tailscale"] = {"enabled": True, "oauth": oauth}
    return Deployment(native.sandbox, blueprint_of(parse(yaml.safe_dump(data))), native.instance)


def test_every_asset_does_its_work_there_and_nothing_the_second_time(
    behind: tuple[Behind, Deployment], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, native = behind
    native.materialize(CLUSTER, KUBECONFIG)
    everything = declared(native, monkeypatch)
    everything.materialize(CONFIG)
    result = everything.materialize(CLUSTER, KUBECONFIG, *DELIVERED)
    found = {
        f"{one.asset_key.to_user_string()}:{one.check_name}": (one.passed, one.description)
        for one in result.get_asset_check_evaluations()
    }
    assert {name: said for name, (passed, said) in found.items() if not passed} == {}
    assert {key for key in DELIVERED if f"{key}:drift" in found} == {*DELIVERED} - {"platform/sops_age"}

    here.work()
    before, writes, calls = here.versions(), here.plane.writes("admin"), everything.mutations()
    assert len(before) > 300
    assert len(writes) > 40
    everything.materialize(CONFIG, CLUSTER, KUBECONFIG, *DELIVERED)
    here.work()
    assert here.versions() == before
    assert here.plane.writes("admin") == writes
    assert everything.mutations() == calls
    assert {everything.metadata(key)["plan"] for key in (CONFIG, CLUSTER, KUBECONFIG, *DELIVERED)} == {"nothing to do"}

    # Somebody takes a thing away and changes another. What a person has set is named and left; the rest is put back.
    service, quota = "/api/v1/namespaces/sample/services/hello", "/api/v1/namespaces/web/resourcequotas/all-pods"
    with here.plane.session("stranger") as hand:

        def limit(cpu: str | None) -> None:
            how = {"content-type": "application/merge-patch+json"}
            assert hand.patch(at + quota, json={"spec": {"hard": {"requests.cpu": cpu}}}, headers=how).ok

        at = f"https://127.0.0.1:{here.plane.port}"
        assert hand.delete(at + service).ok
        limit("9")
        said = drift(everything, "platform/policies", "platform/gateway")
        assert "ocifree overwrites nobody's work" in said["platform/policies"]
        assert "create Service sample/hello" in said["platform/gateway"]
        limit(None)
        assert "change ResourceQuota web/all-pods" in drift(everything, "platform/policies")["platform/policies"]
        everything.materialize("platform/policies", "platform/gateway")
        assert hand.get(at + service).ok
        assert hand.get(at + quota).json()["spec"]["hard"]["requests.cpu"] == "500m"
    assert drift(everything, "platform/policies", "platform/gateway") == {}


def drift(deployment: Deployment, *keys: str) -> dict[str, str]:
    """What the daily comparison finds of these."""
    checks = [dg.AssetCheckKey(dg.AssetKey(key.split("/")), "drift") for key in keys]
    graph = deployment.definitions
    job = dg.define_asset_job("compared", selection=dg.AssetSelection.checks(*checks))
    picked = dg.Definitions(assets=graph.assets, asset_checks=graph.asset_checks, jobs=[job])
    result = picked.resolve_job_def("compared").execute_in_process(instance=deployment.instance)
    found = result.get_asset_check_evaluations()
    assert len(found) == len(keys)
    return {one.asset_key.to_user_string(): str(one.description) for one in found if not one.passed}
