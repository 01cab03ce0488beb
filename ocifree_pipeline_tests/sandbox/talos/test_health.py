"""What `talosctl health` asks for: the first thing that is wrong is named, and nothing after it."""

from __future__ import annotations

import pytest

from ocifree_pipeline.deployment.errors import AuthFailed, OcifreeError
from ocifree_pipeline.systems.talos.channel import conversation
from ocifree_pipeline_tests.sandbox.kubernetes.platform import CILIUM, GATEWAY_API
from ocifree_pipeline_tests.sandbox.talos.lab import SETTLED, Lab, Machine, bundle, trusting
from ocifree_pipeline_tests.sandbox.talos_nodes import configuration

PATH = "/cluster.ClusterService/HealthCheck"
NETWORK = {
    "cluster": {"inlineManifests": [{"name": "cilium", "contents": CILIUM}], "extraManifests": [GATEWAY_API]},
}


def health(machine: Machine, role: str = "os:reader") -> list[str]:
    address = machine.reached().address
    assert address is not None
    said: list[str] = []
    with conversation(address, trusting(bundle(), role), machine.ip, "node") as asked:
        asked.listen(PATH, lambda one: said.append(one.message), timeout=30)
    return said


def test_what_is_wrong_is_named(here: Lab) -> None:
    machines = [here.machine(configuration(bundle(), hostname=f"lab-{n}", patches=[NETWORK])) for n in (1, 2)]
    with pytest.raises(OcifreeError, match=r'etcd to be healthy: .*service "etcd" not in expected state'):
        health(machines[0])
    with pytest.raises(AuthFailed):
        health(machines[0], "os:etcd:backup")
    with machines[0].spoken() as node:
        node.bootstrap()
    here.here.wait(SETTLED)
    here.here.wait(SETTLED)
    said = health(machines[0])
    assert said[0].startswith("discovered nodes: ['10.")
    assert said[-1] == "waiting for all k8s nodes to report ready: OK"
    machines[1].act("STOP")
    with pytest.raises(OcifreeError, match="etcd to be healthy"):
        health(machines[0])
