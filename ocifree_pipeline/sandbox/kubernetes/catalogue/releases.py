"""Releases of Helm: objects of a chart in the cluster, and the secret in which Helm remembers them."""

import base64
import json
from typing import TYPE_CHECKING

from ocifree_pipeline.sandbox.kubernetes.catalogue.charts import Chart, Release
from ocifree_pipeline.sandbox.kubernetes.client import Client
from ocifree_pipeline.sandbox.kubernetes.conditions import is_true
from ocifree_pipeline.sandbox.kubernetes.statuses import Refusal
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

if TYPE_CHECKING:
    from ocifree_pipeline.sandbox.kubernetes.running import Here

SECRETS = "v1/secrets"
WORKLOADS = {
    "Deployment": "apps/v1/deployments",
    "DaemonSet": "apps/v1/daemonsets",
    "StatefulSet": "apps/v1/statefulsets",
}


def install(here: "Here", client: Client, chart: Chart, release: Release, manager: str, **labels: str) -> int:
    """Bring the objects of a release to the cluster, new or over an older one; the number of its revision."""
    for definition in chart.crds():
        client.apply("apiextensions.k8s.io/v1/customresourcedefinitions", definition, manager)
    objects = chart.render(release)
    places = [_place(here, one) for one in objects]
    before = deployed(client, release.namespace, release.name)
    for place, one in zip(places, objects, strict=True):
        metadata = one["metadata"]
        metadata["labels"] = (metadata.get("labels") or {}) | {"app.kubernetes.io/managed-by": "Helm"} | labels
        metadata["annotations"] = (metadata.get("annotations") or {}) | {
            "meta.helm.sh/release-name": release.name,
            "meta.helm.sh/release-namespace": release.namespace,
        }
        client.apply(place, one, manager)
    remembered = [_named(place, one) for place, one in zip(places, objects, strict=True)]
    for one in before["objects"] if before else ():
        if one not in remembered:
            client.delete(*one)
    number = (before["revision"] if before else 0) + 1
    _remember(client, release, chart, number, remembered)
    return number


def uninstall(client: Client, namespace: str, name: str) -> None:
    found = deployed(client, namespace, name)
    for one in reversed(found["objects"] if found else []):
        client.delete(*one)
    for secret in client.list(SECRETS, namespace, labels=f"owner=helm,name={name}"):
        client.delete(SECRETS, namespace, secret["metadata"]["name"])


def deployed(client: Client, namespace: str, name: str) -> Tree | None:
    """What Helm remembers of the release that is in force."""
    secrets = client.list(SECRETS, namespace, labels=f"owner=helm,name={name},status=deployed")
    if not secrets:
        return None
    newest = max(secrets, key=lambda one: int(one["metadata"]["labels"]["version"]))
    found: Tree = json.loads(base64.b64decode(newest["data"]["release"]))
    return found


def unready(client: Client, namespace: str, name: str) -> list[str]:
    """Workloads of a release that are not there yet."""
    found = deployed(client, namespace, name)
    waiting = []
    for resource, place, object_name in found["objects"] if found else ():
        if resource not in WORKLOADS.values():
            continue
        tree = client.get(resource, place, object_name)
        if tree is None or not is_there(tree):
            kind = next(kind for kind, one in WORKLOADS.items() if one == resource)
            waiting.append(f"{kind}/{place}/{object_name}")
    return waiting


def is_there(tree: Tree) -> bool:
    """Whether all pods of a workload are ready."""
    if at(tree, "status", "observedGeneration") != at(tree, "metadata", "generation"):
        return False
    if tree["kind"] == "DaemonSet":
        status = tree["status"]
        return bool(status["numberReady"] == status["desiredNumberScheduled"])
    ready = at(tree, "status", "readyReplicas", default=0) >= tree["spec"]["replicas"]
    return ready and (tree["kind"] != "Deployment" or is_true(tree, "Available"))


def _place(here: "Here", tree: Tree) -> str:
    found = here.resource(tree["apiVersion"], tree["kind"])
    if found is None:
        raise Refusal(
            500,
            "",
            "unable to build kubernetes objects from release manifest: resource mapping not found for name: "
            f'"{tree["metadata"]["name"]}" namespace: "{tree["metadata"].get("namespace", "")}" from "": no matches '
            f'for kind "{tree["kind"]}" in version "{tree["apiVersion"]}"\nensure CRDs are installed first',
        )
    return found


def _named(place: str, tree: Tree) -> list[str]:
    return [place, tree["metadata"].get("namespace", ""), tree["metadata"]["name"]]


def _remember(client: Client, release: Release, chart: Chart, number: int, objects: list[list[str]]) -> None:
    for secret in client.list(SECRETS, release.namespace, labels=f"owner=helm,name={release.name},status=deployed"):
        patch = {"metadata": {"labels": {"status": "superseded"}}}
        client.patch(SECRETS, release.namespace, secret["metadata"]["name"], patch)
    kept = {
        "name": release.name,
        "chart": chart.name,
        "version": release.version,
        "revision": number,
        "objects": objects,
    }
    labels = {"owner": "helm", "name": release.name, "status": "deployed", "version": str(number)}
    body: Tree = {
        "metadata": {
            "name": f"sh.helm.release.v1.{release.name}.v{number}",
            "namespace": release.namespace,
            "labels": labels,
        },
        "type": "helm.sh/release.v1",
        "data": {"release": base64.b64encode(json.dumps(kept).encode()).decode()},
    }
    client.create(SECRETS, body)
