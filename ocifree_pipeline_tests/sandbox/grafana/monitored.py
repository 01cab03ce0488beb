"""A cluster of three nodes in a world with a stack, with our manifests delivered to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import SecretStr

from ocifree_pipeline.deployment.blueprint import Blueprint, blueprint_of
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.deployment.platform import manifest_values
from ocifree_pipeline.deployment.telemetry.values import monitoring_values
from ocifree_pipeline.record.bootstrap import CILIUM, bootstrap_urls, cilium_installer
from ocifree_pipeline.sandbox.grafana import stack
from ocifree_pipeline.sandbox.kubernetes import cluster as clusters
from ocifree_pipeline.sandbox.kubernetes.cluster import Cluster, Machine
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline.systems.grafana.agents import agents
from ocifree_pipeline.systems.kube.objects import Object, ordered
from ocifree_pipeline.systems.kube.rendering import render, versions
from ocifree_pipeline.systems.kube.secrets import secret

NODES = 3


def declared(offered: Mapping[str, Any], topology: str = "proxmox-ceph", **monitoring: Any) -> Blueprint:
    """The example with that stack."""
    data = yaml.safe_load(example(topology))
    cloud = {
        **offered["grafana_cloud"],
        "token": "env:GRAFANA_CLOUD_TOKEN",
        "service_account_token": "env:GRAFANA_SERVICE_ACCOUNT_TOKEN",
    }
    data["monitoring"] = {"grafana_cloud": cloud, **monitoring}
    return blueprint_of(parse(yaml.safe_dump(data)))


def manifests(blueprint: Blueprint, nodes: tuple[Mapping[str, str], ...] = ()) -> tuple[Object, ...]:
    values = {**manifest_values(blueprint, versions()), "monitoring": monitoring_values(blueprint, nodes)}
    values["monitoring"]["config"] = agents(values).digest
    return render("monitoring", values)


def cluster_in(world: World, blueprint: Blueprint) -> Cluster:
    """Up to Cilium and Flux, as Talos brings them."""
    made = clusters.create(world, "lab")
    for number in range(1, NODES + 1):
        made.add_node(f"node-{number}", Machine(addresses=(f"10.0.1.{10 + number}",), control_plane=True))
    urls = bootstrap_urls(blueprint).values()
    made.bootstrap({CILIUM: cilium_installer(blueprint)}, urls)
    settle(world, 300)
    return made


def deliver(world: World, blueprint: Blueprint, token: str) -> Cluster:
    """The manifests and the secret beside them."""
    made = clusters.find_existing(world, "lab")
    login = secret("monitoring", "grafana-cloud", {"GRAFANA_CLOUD_TOKEN": SecretStr(token)})
    for thing in (*ordered(manifests(blueprint)), login):
        made.api.client.apply(_resource(thing), thing, "ocifree")
    settle(world, 300)
    return made


def deliver_pods(world: World, count: int, image: str = "docker.io/library/app:1", *, broken: bool = False) -> None:
    """Deployments of one pod each, which somebody else brings."""
    client = clusters.find_existing(world, "lab").api.client
    for number in range(count):
        name = f"app-{number}"
        labels = {"app": name}
        pod: dict[str, Any] = {"containers": [{"name": "app", "image": image}]}
        if broken:
            pod["volumes"] = [{"name": "missing", "configMap": {"name": "never-made"}}]
        body = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        }
        client.apply("apps/v1/deployments", body, "somebody")
    settle(world, 60)


def settle(world: World, seconds: float, every: float = 20.0) -> None:
    for _ in range(int(seconds / every)):
        world.clock.advance(every)
        world.settle()


def offered(world: World) -> dict[str, Any]:
    return stack.offered(world)


def _resource(thing: Object) -> str:
    plural = str(thing["kind"]).lower() + "s"
    plural = {"helmrepositorys": "helmrepositories"}.get(plural, plural)
    return f"{thing['apiVersion']}/{plural}"
