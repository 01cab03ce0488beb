"""manifests/ in both topologies: objects that Kubernetes takes, versions that are pinned, and nothing secret."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest
import yaml

from ocifree_pipeline.deployment.blueprint import Blueprint, blueprint_of
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.deployment.platform import manifest_values
from ocifree_pipeline.deployment.secret_literals import secret_kind
from ocifree_pipeline.record.bootstrap import CILIUM, bootstrap_urls, cilium_installer
from ocifree_pipeline.systems.kube.objects import Object, at, is_of, ordered, ref_of
from ocifree_pipeline.systems.kube.rendering import manifest_folder, render, versions

PARTS = (
    "bootstrap",
    "cilium",
    "dagster",
    "flux",
    "gateway",
    "oci_ccm",
    "policies",
    "sample",
    "sops_age",
    "tailscale_operator",
)
ORACLE = {"compartment": "ocid1.compartment.oc1..c", "vcn": "ocid1.vcn.oc1..v", "public_subnet": "ocid1.subnet.oc1..s"}
DAGSTER = {
    "image": "registry.example.org/ocifree:0.1.0",
    "database": "db.example.org",
    "declaration": "name: lab\n",
}
EVERYTHING = {
    "gateway": {
        "hostname": "lab.example.org",
        "tls": {"certificate": "env:CERTIFICATE", "private_key": "env:KEY"},
    },
    "flux": {"enabled": True, "repository": "https://git.example.org/lab.git", "credentials": "env:GIT_TOKEN"},
    "namespaces": {"web": {"cpu": "500m", "memory": "512Mi"}, "data": {"cpu": "1", "memory": "1Gi", "pods": 5}},
}
NOTHING = {"gateway": {"enabled": False}, "cilium": {"hubble": False}, "flux": {"enabled": False}}

# Kinds that come from elsewhere, in the versions that the pinned releases serve.
CUSTOM = {
    ("cilium.io/v2", "CiliumNetworkPolicy"),
    ("gateway.networking.k8s.io/v1", "Gateway"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("helm.toolkit.fluxcd.io/v2", "HelmRelease"),
    ("kustomize.toolkit.fluxcd.io/v1", "Kustomization"),
    ("source.toolkit.fluxcd.io/v1", "GitRepository"),
    ("source.toolkit.fluxcd.io/v1", "HelmRepository"),
    ("tailscale.com/v1alpha1", "ProxyClass"),
}


@cache
def blueprint(topology: str, form: str) -> Blueprint:
    data = yaml.safe_load(example(topology))
    declared = data.setdefault("kubernetes", {})
    declared.update({"everything": EVERYTHING, "nothing": NOTHING, "example": {}}[form])
    return blueprint_of(parse(yaml.safe_dump(data)))


@cache
def tree(topology: str, form: str) -> dict[str, tuple[Object, ...]]:
    values = {**manifest_values(blueprint(topology, form), versions()), "oracle": ORACLE, "dagster": DAGSTER}
    return {part: render(part, values) for part in PARTS}


TREES = [
    (topology, form) for topology in ("talos-native", "proxmox-ceph") for form in ("example", "everything", "nothing")
]
every_tree = pytest.mark.parametrize(("topology", "form"), TREES, ids=str)


def objects(topology: str, form: str) -> list[Object]:
    return [thing for part in tree(topology, form).values() for thing in part]


def test_every_folder_is_tried() -> None:
    """Monitoring has its own test."""
    folders = {path.name for path in manifest_folder().iterdir() if path.is_dir()}
    assert folders - {"monitoring"} == set(PARTS)


@every_tree
def test_kubernetes_takes_every_object(topology: str, form: str) -> None:
    """By the schemas of Kubernetes, unknown fields refused; kinds of others by name and version."""
    import kubernetes_validate

    minor = ".".join(blueprint(topology, form).declaration.kubernetes.kubernetes_version.split(".")[:2])
    for thing in objects(topology, form):
        if is_custom(thing):
            assert (thing["apiVersion"], thing["kind"]) in CUSTOM, ref_of(thing)
        else:
            kubernetes_validate.validate(thing, minor, strict=True)


def is_custom(thing: Object) -> bool:
    group = str(thing["apiVersion"]).partition("/")[0]
    return group.startswith("gateway.") or ("." in group and not group.endswith(".k8s.io"))


@every_tree
def test_namespaces_are_there_before_what_is_in_them(topology: str, form: str) -> None:
    brought = {"kube-system", "default"}
    for part in tree(topology, form).values():
        for thing in ordered(part):
            brought |= {str(at(thing, "metadata.name"))} if is_of(thing, ("", "Namespace")) else set()
            space = at(thing, "metadata.namespace")
            assert space is None or space in brought or space == "flux-system", ref_of(thing)


@every_tree
def test_nothing_in_the_tree_is_secret(topology: str, form: str) -> None:
    for thing in objects(topology, form):
        assert thing["kind"] != "Secret", ref_of(thing)
    text = "\n".join(path.read_text() for path in manifest_folder().rglob("*") if path.is_file())
    assert "PRIVATE KEY" not in text
    assert not [word for word in re.findall(r"[^\s\"':=]{16,}", text) if not word.isalpha() and secret_kind(word)]


@every_tree
def test_every_image_and_chart_is_pinned(topology: str, form: str) -> None:
    for thing in objects(topology, form):
        pod = at(thing, "spec.template.spec", {})
        for container in (*pod.get("containers", ()), *pod.get("initContainers", ())):
            name, _, tag = container["image"].rpartition(":")
            assert "." in name.partition("/")[0], "the registry is named"
            assert re.fullmatch(r"v?\d+\.\d+\.\d+", tag), container["image"]
        if thing["kind"] == "HelmRelease":
            assert re.fullmatch(r"\d+\.\d+\.\d+", at(thing, "spec.chart.spec.version")), ref_of(thing)
    for url in bootstrap_urls(blueprint(topology, form)).values():
        assert re.search(r"/v\d+\.\d+\.\d+/", url), url


def test_when_versions_were_looked_up_is_written_down() -> None:
    assert str(versions()["looked_up"]) >= "2026-11-20"


# what we know of Talos and Oracle -------------------------------------------------------------------------------------


@every_tree
def test_cilium_fits_talos(topology: str, form: str) -> None:
    release = next(thing for thing in tree(topology, form)["cilium"] if thing["kind"] == "HelmRelease")
    values = at(release, "spec.values")
    assert values["ipam"] == {"mode": "kubernetes"}
    assert values["kubeProxyReplacement"] is True
    assert (values["k8sServiceHost"], values["k8sServicePort"]) == ("localhost", 7445)
    assert values["cgroup"] == {"autoMount": {"enabled": False}, "hostRoot": "/sys/fs/cgroup"}
    granted = values["securityContext"]["capabilities"]
    assert not any("SYS_MODULE" in names for names in granted.values())
    assert ("gatewayAPI" in values) == (form != "nothing")
    assert values["hubble"]["enabled"] == (form != "nothing")


@every_tree
def test_the_release_takes_over_what_the_first_job_installs(topology: str, form: str) -> None:
    """Helm finds a release by name and namespace; other values would roll every agent at once."""
    things = {thing["kind"]: thing for thing in tree(topology, form)["bootstrap"]}
    release = next(thing for thing in tree(topology, form)["cilium"] if thing["kind"] == "HelmRelease")
    assert at(release, "metadata.namespace") == at(things["Job"], "metadata.namespace") == "kube-system"
    assert at(release, "spec.releaseName") == "cilium"
    assert yaml.safe_load(at(things["ConfigMap"], "data")["values.yaml"]) == at(release, "spec.values")
    (container,) = at(things["Job"], "spec.template.spec.containers")
    assert f"--version=v{at(release, 'spec.chart.spec.version')}" in container["command"]
    assert list(yaml.safe_load_all(cilium_installer(blueprint(topology, form)))) == list(
        tree(topology, form)["bootstrap"]
    )


def test_the_first_job_can_run_before_any_node_is_ready() -> None:
    job = next(thing for thing in tree("talos-native", "example")["bootstrap"] if thing["kind"] == "Job")
    pod = at(job, "spec.template.spec")
    assert pod["hostNetwork"] is True
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert "ttlSecondsAfterFinished" not in job["spec"]
    assert job["metadata"]["name"] == CILIUM


def test_oracles_controller_can_run_before_it_has_greeted_its_node() -> None:
    controller = next(thing for thing in tree("talos-native", "example")["oci_ccm"] if thing["kind"] == "DaemonSet")
    pod = at(controller, "spec.template.spec")
    assert pod["hostNetwork"] is True
    tolerated = {one["key"] for one in pod["tolerations"]}
    assert {"node.cloudprovider.kubernetes.io/uninitialized", "node.kubernetes.io/not-ready"} <= tolerated


@pytest.mark.parametrize("form", ["example", "everything"])
def test_every_namespace_starts_out_closed(form: str) -> None:
    found = tree("talos-native", form)
    spaces = {
        thing["metadata"]["name"]
        for part in ("policies", "sample")
        for thing in found[part]
        if thing["kind"] == "Namespace"
    }
    assert spaces == ({"sample", "web", "data"} if form == "everything" else {"sample"})
    for space in spaces:
        fences = {
            thing["metadata"]["name"]: thing["spec"]
            for part in ("policies", "sample")
            for thing in found[part]
            if thing["metadata"].get("namespace") == space and "Policy" in thing["kind"]
        }
        assert set(fences) == {"default-deny", "within-namespace", "names", "from-gateway"}
        assert fences["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_quotas_are_the_declared_ones() -> None:
    quotas = {
        thing["metadata"]["namespace"]: thing["spec"]["hard"]
        for thing in tree("proxmox-ceph", "everything")["policies"]
        if thing["kind"] == "ResourceQuota"
    }
    assert quotas["web"] == {
        "requests.cpu": "500m",
        "requests.memory": "512Mi",
        "limits.memory": "512Mi",
        "pods": "20",
    }
    assert quotas["data"]["pods"] == "5"


def test_the_gateway_listens_for_what_was_declared() -> None:
    def listeners(form: str) -> list[dict[str, Any]]:
        gateway = next(thing for thing in tree("talos-native", form)["gateway"] if thing["kind"] == "Gateway")
        found: list[dict[str, Any]] = at(gateway, "spec.listeners")
        return found

    assert [one["name"] for one in listeners("example")] == ["http"]
    plain, secure = listeners("everything")
    assert (plain["port"], secure["port"], secure["hostname"]) == (80, 443, "lab.example.org")
    assert plain["allowedRoutes"] == secure["allowedRoutes"]


def test_the_judge_of_this_file_can_say_no() -> None:
    import kubernetes_validate

    service = next(thing for thing in tree("talos-native", "example")["sample"] if thing["kind"] == "Service")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**service, "spec": {**service["spec"], "prts": []}}, "1.36", strict=True)
