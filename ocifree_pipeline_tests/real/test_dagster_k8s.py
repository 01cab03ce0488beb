"""Dagster's launcher for Kubernetes takes the settings that we render, and its Jobs are ones that a cluster takes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from ocifree_pipeline_tests.test_manifests import tree

MISSING = [name for name in ("dagster_k8s", "dagster_postgres") if not importlib.util.find_spec(name)]
pytestmark = [
    pytest.mark.real("dagster-k8s"),
    pytest.mark.skipif(bool(MISSING), reason=f"not found: {', '.join(MISSING)}, which the extra `outgrown` brings"),
]


def settings() -> dict[str, Any]:
    things = tree("talos-native", "example")["dagster"]
    text = next(one for one in things if one["metadata"]["name"] == "instance")["data"]["dagster.yaml"]
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As it is on a cluster, but for the cluster."""
    import kubernetes
    from dagster._config import process_config, resolve_to_config_type
    from dagster_k8s import K8sRunLauncher

    monkeypatch.setattr(kubernetes.config, "load_incluster_config", lambda *_, **__: None)
    taken = process_config(resolve_to_config_type(K8sRunLauncher.config_type()), settings()["run_launcher"]["config"])
    assert taken.success, taken.errors
    return K8sRunLauncher.from_config_value(None, taken.value)


def test_dagster_knows_every_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from dagster._core.instance.ref import InstanceRef

    monkeypatch.setenv("DAGSTER_PG_PASSWORD", "only-in-this-test")
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings()))
    ref = InstanceRef.from_dir(str(tmp_path))
    assert ref.run_launcher_data is not None
    assert ref.run_launcher_data.class_name == "K8sRunLauncher"
    assert ref.storage_data is not None
    assert ref.storage_data.class_name == "DagsterPostgresStorage"


def test_a_run_becomes_a_job_that_kubernetes_takes_with_all_that_the_servers_have(launcher: Any) -> None:
    import kubernetes
    import kubernetes_validate
    from dagster_k8s.job import construct_dagster_k8s_job

    context = launcher.get_container_context_for_run(dg.DagsterRun(job_name="deploy", run_id="0" * 32))
    job = construct_dagster_k8s_job(
        job_config=context.get_k8s_job_config(job_image=None, run_launcher=launcher),
        args=["dagster", "api", "execute_run"],
        job_name="run",
        pod_name="run",
        component="run_worker",
        user_defined_k8s_config=context.run_k8s_config,
        labels={},
    )
    made = {"apiVersion": "batch/v1", "kind": "Job", **kubernetes.client.ApiClient().sanitize_for_serialization(job)}
    kubernetes_validate.validate(made, "1.36", strict=True)
    pod, (container,) = made["spec"]["template"]["spec"], made["spec"]["template"]["spec"]["containers"]
    code = next(
        one["spec"]["template"]["spec"]
        for one in tree("talos-native", "example")["dagster"]
        if (one["kind"], one["metadata"]["name"]) == ("Deployment", "code")
    )
    (server,) = code["containers"]
    assert container["image"] == server["image"]
    assert len({one["name"] for one in container["env"]}) == len(container["env"])
    assert {one["name"]: one.get("value") for one in server["env"]}.items() <= {
        one["name"]: one.get("value") for one in container["env"]
    }.items()
    assert {one["mountPath"] for one in server["volumeMounts"]} - {"/workspace"} <= {
        one["mountPath"] for one in container["volumeMounts"]
    }
    assert server["envFrom"][0]["secretRef"]["name"] in {
        one["secretRef"]["name"] for one in container["envFrom"] if "secretRef" in one
    }
    assert (pod["securityContext"], container["securityContext"]) == (
        code["securityContext"], server["securityContext"],
    )  # fmt: skip
    assert pod["affinity"]["podAffinity"], "the volume is on one node"
    assert made["spec"]["ttlSecondsAfterFinished"] == 86400
