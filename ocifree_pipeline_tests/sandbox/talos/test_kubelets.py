"""What Kubernetes hears of the machines: they register, are missed, come back, and start again without a network."""

from __future__ import annotations

from ocifree_pipeline.sandbox.talos import cluster
from ocifree_pipeline.sandbox.talos.node import nodes
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline_tests.sandbox.talos.lab import Lab, Machine, bundle
from ocifree_pipeline_tests.sandbox.talos_nodes import configuration

MISSED = 60


def registered(here: Lab) -> dict[str, str]:
    """Each node, and what its condition Ready says."""

    def look(world: World) -> dict[str, str]:
        made = next(found for node in nodes(world) if (found := cluster.api_of(node)))
        return {
            one["metadata"]["name"]: next(c["status"] for c in one["status"]["conditions"] if c["type"] == "Ready")
            for one in made.store.all("nodes")
        }

    return here.inside(look)


def boots(here: Lab, machine: Machine) -> int:
    return here.inside(lambda world: next(one.computer.boots for one in nodes(world) if one.key == machine.id))


def test_a_machine_that_is_gone_is_missed_and_comes_back(here: Lab) -> None:
    here.bootstrapped(1)
    worker = here.machine(configuration(bundle(), "worker", hostname="lab-worker"))
    assert registered(here) == {"lab-1": "False", "lab-worker": "False"}, "no network plugin yet"
    here.here.compute.instance_action(worker.id, "STOP")
    here.here.wait(MISSED)
    assert registered(here)["lab-worker"] == "Unknown"
    here.here.compute.instance_action(worker.id, "START")
    here.here.wait(MISSED)
    assert registered(here)["lab-worker"] == "False"


def test_a_node_without_a_network_starts_again_after_its_window(here: Lab) -> None:
    (machine,) = here.bootstrapped(1)
    assert boots(here, machine) == 1
    here.here.wait(cluster.NO_NETWORK_SECONDS)
    assert boots(here, machine) == 2
    assert "no network plugin has come; rebooting" in machine.console
    with machine.spoken() as node:
        assert node.etcd().leader, "etcd is where it was"
