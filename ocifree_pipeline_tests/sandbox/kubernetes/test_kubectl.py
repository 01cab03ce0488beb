"""The real kubectl against a cluster of the sandbox; and without it, what it asks for."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from ocifree_pipeline.sandbox.kubernetes import certificates
from ocifree_pipeline_tests.sandbox.kubernetes.platform import stand_up
from ocifree_pipeline_tests.sandbox.kubernetes.served import Served, authority, served

Kubectl = Callable[..., subprocess.CompletedProcess[str]]
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "web:1"}]}
"""


def kubeconfig(here: Served) -> str:
    pair = authority()
    certificate, key = certificates.client(pair.certificate, pair.key, "admin", ["system:masters"])

    def coded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    cluster = {"server": f"https://127.0.0.1:{here.port}", "certificate-authority-data": coded(pair.certificate)}
    user = {"client-certificate-data": coded(certificate), "client-key-data": coded(key)}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "lab",
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": "lab", "user": user}],
        }
    )


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("kubectl")) as found:
        stand_up(found)
        yield found


@pytest.fixture
def kubectl(standing: Served, tmp_path: Path) -> Kubectl:
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("needs kubectl: apt-get install kubernetes-client")
    file = tmp_path / "kubeconfig"
    file.touch(mode=0o600)
    file.write_text(kubeconfig(standing))
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KUBECONFIG": str(file)}

    def run(*arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *arguments], input=given, env=environment, capture_output=True, text=True, timeout=30, check=False
        )

    return run


@pytest.mark.real("kubectl")
def test_a_day_with_kubectl(kubectl: Kubectl) -> None:
    assert "node-1   Ready" in kubectl("get", "nodes").stdout
    assert "created" in kubectl("apply", "-f", "-", given=WEB).stdout
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=10s").stdout
    assert "scaled" in kubectl("scale", "deployment", "web", "--replicas=2").stdout
    assert kubectl("get", "pods", "-o", "name", "-l", "app=web").stdout.count("pod/web-") == 2
    assert "web:2" in kubectl("diff", "-f", "-", given=WEB.replace("web:1", "web:2")).stdout
    assert "FIELD: replicas <integer>" in kubectl("explain", "deployment.spec.replicas").stdout
    assert "condition met" in kubectl("wait", "--for=condition=Ready", "node/node-1", "--timeout=5s").stdout
    assert "KubeletReady" in kubectl("describe", "node", "node-1").stdout
    assert "deleted" in kubectl("delete", "deployment", "web").stdout


@pytest.mark.real("kubectl")
def test_what_kubectl_sends_in_its_binary_form(kubectl: Kubectl, standing: Served) -> None:
    assert "created" in kubectl("create", "namespace", "binary").stdout
    assert "created" in kubectl("create", "secret", "generic", "s", "-n", "binary", "--from-literal=a=word").stdout
    found = standing.ask("GET", "/api/v1/namespaces/binary/secrets/s").json()
    assert found["data"] == {"a": base64.b64encode(b"word").decode()}
    assert kubectl("auth", "can-i", "delete", "pods").stdout == "yes\n"
    assert kubectl("apply", "-f", "-", given=WEB).returncode == 0
    drained = kubectl("drain", "node-1", "--ignore-daemonsets", "--force", "--timeout=20s", "--pod-selector=app=web")
    assert "node/node-1 drained" in drained.stdout, drained.stderr
    assert "uncordoned" in kubectl("uncordon", "node-1").stdout
    refused = kubectl("create", "deployment", "other", "--image=web:1")
    assert "application/vnd.kubernetes.protobuf of a Deployment" in refused.stderr


@pytest.mark.real("kubectl")
def test_mistakes_are_told_by_kubectl(kubectl: Kubectl) -> None:
    wrong = WEB.replace("selector:", "selectr:")
    assert 'unknown field "spec.selectr"' in kubectl("apply", "-f", "-", given=wrong).stderr
    found = kubectl("apply", "--server-side", "-f", "-", given=wrong)
    assert ".spec.selectr: field not declared in schema" in found.stderr
    assert 'deployments.apps "none" not found' in kubectl("get", "deployment", "none").stderr


def test_lists_come_as_tables_to_who_wants_them(standing: Served) -> None:
    found = standing.ask("GET", "/api/v1/nodes", headers=TABLE).json()
    assert [one["name"] for one in found["columnDefinitions"]] == ["Name", "Status", "Roles", "Version", "Age"]
    (row,) = found["rows"]
    assert row["cells"][:4] == ["node-1", "Ready", "control-plane", "v1.36.3"]
    assert row["object"]["metadata"]["name"] == "node-1"
    path = "/apis/gateway.networking.k8s.io/v1/gatewayclasses/cilium"
    assert standing.ask("GET", path, headers=TABLE).json()["rows"][0]["cells"][0] == "cilium"


def test_the_description_of_the_api_is_whole(standing: Served) -> None:
    paths = standing.ask("GET", "/openapi/v3").json()["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/gateway.networking.k8s.io/v1"} <= paths.keys()
    for one in paths.values():
        found = standing.ask("GET", one["serverRelativeURL"]).json()
        schemas = found["components"]["schemas"]
        missing = {name for name in _references(found) if name not in schemas}
        assert not missing
        assert all(
            {"fieldValidation"} <= {parameter["name"] for parameter in path["patch"]["parameters"]}
            for path in found["paths"].values()
        )


def _references(tree: object) -> Iterator[str]:
    if isinstance(tree, dict):
        if isinstance(tree.get("$ref"), str):
            yield tree["$ref"].rpartition("/")[2]
        for value in tree.values():
            yield from _references(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _references(value)
