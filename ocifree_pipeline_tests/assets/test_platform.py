"""The platform in the real graph on a Kubernetes API with its controllers: once, again, and after what may go wrong."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest
import yaml

from ocifree_pipeline.deployment.blueprint import Blueprint, blueprint_of
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.record.bootstrap import CILIUM, bootstrap_urls, cilium_installer
from ocifree_pipeline.record.tenancy import PlanFacts
from ocifree_pipeline.sandbox.kubernetes.cluster import Machine
from ocifree_pipeline.systems.secrets.vault import vault_of
from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.test_kubernetes import LIMITS
from ocifree_pipeline_tests.assets.test_machines import checks
from ocifree_pipeline_tests.sandbox.kubernetes.served import Served, served
from ocifree_pipeline_tests.systems.kube.conftest import kubeconfig

NETWORK = {
    "compartment": "ocid1.compartment.oc1..c",
    "vcn": "ocid1.vcn.oc1..v",
    "vcn_cidr": "10.0.0.0/16",
    "subnets": {"public": "ocid1.subnet.oc1..s", "private": "ocid1.subnet.oc1..p"},
    "groups": {"ssh": "g1", "web": "g2", "inside": "g3"},
    "nodes_subnet": "public",
}
PUBLIC = "203.0.113.20"
CILIUM_KEY, FLUX, AGE = "platform/cilium", "platform/flux", "platform/sops_age"
POLICIES, GATEWAY, TAILSCALE, CCM = (
    "platform/policies",
    "platform/gateway",
    "platform/tailscale_operator",
    "platform/oci_ccm",
)
EVERYTHING = [CILIUM_KEY, AGE, FLUX, POLICIES, GATEWAY, TAILSCALE]


@dataclass
class Platform:
    """A graph and the cluster that it works on. The way there is short; everything above it is real."""

    deployment: Deployment
    here: Served

    def materialize(self, *keys: str, good: bool = True) -> dg.ExecuteInProcessResult:
        return self.deployment.materialize(*keys, good=good)

    def told(self, *keys: str) -> dict[str, Any]:
        """The one error of a run that fails."""
        (error,) = self.deployment.errors(self.materialize(*keys, good=False)).values()
        return error

    def writes(self) -> list[str]:
        return self.here.record(mutating=True)

    def forget(self) -> None:
        from ocifree_pipeline.sandbox import instruments

        instruments.of(self.here.world).recorder.clear()

    def secret(self, namespace: str, name: str) -> dict[str, str]:
        found = self.here.core.read_namespaced_secret(name, namespace)
        return {key: base64.b64decode(value).decode() for key, value in found.data.items()}


def blueprint(**kubernetes: Any) -> Blueprint:
    data = yaml.safe_load(example("talos-native"))
    data["kubernetes"] |= kubernetes
    if kubernetes.get("tailscale_operator"):
        data["access"]["tailscale"] = {
            "enabled": True,
            "oauth": {"client_id": "env:TS_CLIENT_ID", "client_secret": "env:TS_CLIENT_SECRET"},
        }
    return blueprint_of(parse(yaml.safe_dump(data)))


def machine(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "ocid": f"ocid1.instance.oc1..{name}",
        "availability_domain": "ad:1",
        "fault_domain": "FAULT-DOMAIN-1",
        "shape": "VM.Standard.A1.Flex",
        "ocpus": 2,
        "memory_gb": 12,
        "image": "ocid1.image.oc1..i",
        "boot_volume": "ocid1.bootvolume.oc1..b",
        "private_ip": "10.0.1.10",
        "public_ip": PUBLIC,
        "answers": "talos",
        "host_key": None,
        "machine_id": None,
        "architecture": None,
        "kernel": None,
        **more,
    }


@contextmanager
def platform(folder: Path, patch: pytest.MonkeyPatch, drawn: Blueprint, **node: Any) -> Iterator[Platform]:
    patch.setenv("DAGSTER_HOME", str(folder / "home"))
    with served(folder) as here, dg.DagsterInstance.ephemeral() as instance:
        patch.setattr(time, "sleep", here.advance)
        patch.setattr("ocifree_pipeline.systems.ssh.forward.forwarded", lambda *_: _here(here))
        found = Deployment(cast("Any", None), drawn, instance)
        found.pretend("tenancy/limits", **LIMITS)
        found.pretend("tenancy/plan", **PlanFacts.of(drawn.plan).model_dump(mode="json"))
        found.pretend("oci/network", **NETWORK)
        found.pretend("oci/reserved_ips", addresses={})
        found.pretend("machines/bastion", **machine("bastion", answers="linux"))
        found.pretend("machines/ampere_1", **machine("ampere_1"))
        vault_of(drawn.declaration.name).put({"talos/kubeconfig": kubeconfig()})
        standing = Machine(addresses=("10.0.1.10",), control_plane=True, **node)
        here.inside(lambda cluster: cluster.add_node("lab-ampere-1", standing))
        here.inside(
            lambda cluster: cluster.bootstrap({CILIUM: cilium_installer(drawn)}, bootstrap_urls(drawn).values())
        )
        here.inside(lambda cluster: cluster.settle())
        yield Platform(found, here)


@contextmanager
def _here(here: Served) -> Iterator[tuple[str, int]]:
    yield "127.0.0.1", here.port


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    monkeypatch.setenv("TS_CLIENT_ID", "client-id")
    monkeypatch.setenv("TS_CLIENT_SECRET", "hunter2-client-secret")
    drawn = blueprint(
        tailscale_operator={"enabled": True},
        namespaces={"web": {"cpu": "500m", "memory": "512Mi"}},
    )
    with platform(tmp_path, monkeypatch, drawn) as found:
        yield found


def test_everything_works_and_the_second_run_writes_nothing(lab: Platform) -> None:
    result = lab.materialize(*EVERYTHING)
    judged = checks(result)
    # Nobody leads from a public address to this cluster; test_platform_on_oracle.py does.
    assert judged == {"cilium:cilium_ok": True, "flux:releases_ready": True, "gateway:ingress_reachable": False}
    deployment = lab.deployment
    assert deployment.facts(CILIUM_KEY)["release"] == "1.20.0"
    assert deployment.facts(CILIUM_KEY)["nodes"] == ["lab-ampere-1"]
    assert deployment.facts(FLUX) | {"manifests": ""} == {
        "release": "2.9.4",
        "repository": None,
        "branch": None,
        "path": None,
        "manifests": "",
    }
    assert deployment.facts(GATEWAY)["address"] == PUBLIC
    assert deployment.facts(GATEWAY)["host"] == "hello.lab.example.org"
    assert deployment.facts(POLICIES)["namespaces"] == ["web"]
    assert deployment.facts(TAILSCALE)["release"] == "1.102.3"
    recorded = {key: deployment.facts(key) for key in EVERYTHING}

    lab.forget()
    lab.materialize(*EVERYTHING)
    assert lab.writes() == []
    assert {key: deployment.facts(key) for key in EVERYTHING} == recorded
    assert {deployment.metadata(key)["plan"] for key in EVERYTHING} == {"nothing to do"}
