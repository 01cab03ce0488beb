"""Dagster on Kubernetes as we render it: its launcher takes the settings, and a real cluster what it makes of them.

Pods are placed by a real scheduler and played by the sandbox's kubelets, so what runs in them is tried beside: the code
server is started here by the very command of its container.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from pydantic import SecretStr

from ocifree_pipeline.deployment.examples import example_path
from ocifree_pipeline.systems.kube import delivery
from ocifree_pipeline.systems.kube.objects import Object
from ocifree_pipeline.systems.kube.secrets import secret
from ocifree_pipeline_tests.real.programs import free_port, program, running, until
from ocifree_pipeline_tests.real.test_controllers import Lab, lab
from ocifree_pipeline_tests.real.test_postgres import PASSWORD, database
from ocifree_pipeline_tests.test_manifests import tree

__all__ = ["database"]

PROGRAMS = Path(sys.executable).parent

MISSING = [name for name in ("dagster_k8s", "dagster_postgres") if not importlib.util.find_spec(name)]
pytestmark = [
    pytest.mark.real("dagster-k8s"),
    pytest.mark.timeout(300),
]
with_packages = pytest.mark.skipif(
    bool(MISSING), reason=f"not found: {', '.join(MISSING)}, which the extra `outgrown` brings"
)
SPACE, ACCOUNT = "ocifree-lab", "system:serviceaccount:ocifree-lab:dagster"
GROUPS = ("system:serviceaccounts", f"system:serviceaccounts:{SPACE}", "system:authenticated")
NEEDED = {  # by the launcher, which starts a run, looks after it, tells why it failed, and ends it with its pods
    ("batch", "jobs"): {"create", "delete", "get", "list"},
    ("batch", "jobs/status"): {"get"},
    ("", "pods"): {"delete", "get", "list"},
    ("", "pods/log"): {"get"},
    ("", "events"): {"list"},
}
FORBIDDEN = {("", "secrets"): {"get", "list"}, ("", "pods"): {"create"}, ("", "pods/exec"): {"create"}}


def deployed() -> tuple[Object, ...]:
    return tree("talos-native", "example")["dagster"]


def server(part: str) -> tuple[Any, Any]:
    """The pod of one of the three servers, and its container."""
    pod = next(
        one["spec"]["template"]["spec"]
        for one in deployed()
        if (one["kind"], one["metadata"]["name"]) == ("Deployment", part)
    )
    return pod, pod["containers"][0]


def settings() -> dict[str, Any]:
    things = deployed()
    text = next(one for one in things if one["metadata"]["name"] == "instance")["data"]["dagster.yaml"]
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As it is on a cluster, but for the cluster."""
    import kubernetes

    monkeypatch.setattr(kubernetes.config, "load_incluster_config", lambda *_, **__: None)
    return launcher_with({})


def launcher_with(changes: dict[str, Any]) -> Any:
    from dagster._config import process_config, resolve_to_config_type
    from dagster_k8s import K8sRunLauncher

    given = settings()["run_launcher"]["config"] | changes
    taken = process_config(resolve_to_config_type(K8sRunLauncher.config_type()), given)
    assert taken.success, taken.errors
    return K8sRunLauncher.from_config_value(None, taken.value)


@with_packages
def test_dagster_knows_every_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from dagster._core.instance.ref import InstanceRef

    monkeypatch.setenv("DAGSTER_PG_PASSWORD", "only-in-this-test")
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings()))
    ref = InstanceRef.from_dir(str(tmp_path))
    assert ref.run_launcher_data is not None
    assert ref.run_launcher_data.class_name == "K8sRunLauncher"
    assert ref.storage_data is not None
    assert ref.storage_data.class_name == "DagsterPostgresStorage"


@with_packages
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
    code, started = server("code")
    assert container["image"] == started["image"]
    assert len({one["name"] for one in container["env"]}) == len(container["env"])
    assert {one["name"]: one.get("value") for one in started["env"]}.items() <= {
        one["name"]: one.get("value") for one in container["env"]
    }.items()
    assert {one["mountPath"] for one in started["volumeMounts"]} - {"/workspace"} <= {
        one["mountPath"] for one in container["volumeMounts"]
    }
    assert started["envFrom"][0]["secretRef"]["name"] in {
        one["secretRef"]["name"] for one in container["envFrom"] if "secretRef" in one
    }
    assert (pod["securityContext"], container["securityContext"]) == (
        code["securityContext"], started["securityContext"],
    )  # fmt: skip
    assert pod["affinity"]["podAffinity"], "the volume is on one node"
    assert made["spec"]["ttlSecondsAfterFinished"] == 86400


@pytest.fixture(scope="module")
def stood(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """All of it on a cluster whose storage is a folder of its node."""
    program("kube-controller-manager")
    program("kube-scheduler")
    with lab(tmp_path_factory.mktemp("dagster"), "talos-native") as here:
        here.apply(VOLUME)
        delivery.apply(here.api, delivery.plan_for(here.api, "dagster", deployed()), lambda line: None)
        here.until(lambda: "" if blocked(here) else "nobody waits for the secrets that are yours to make")
        assert all("secret" in said for said in blocked(here).values())
        for name in ("database", "oracle", "ocifree"):
            here.apply(secret(SPACE, name, {"postgresql-password": SecretStr("x"), "config": SecretStr("x")}))
        here.until(
            lambda: {
                str(ref): state
                for ref, state in delivery.states_of(here.api, deployed()).items()
                if state.verdict != "ready"
            }
        )
        yield here


VOLUME: Object = {
    "apiVersion": "v1",
    "kind": "PersistentVolume",
    "metadata": {"name": "folder"},
    "spec": {
        "capacity": {"storage": "10Gi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": "/var/history"},
    },
}


def blocked(here: Lab) -> dict[str, str]:
    """What containers wait for."""
    return {
        pod["metadata"]["name"]: one["state"]["waiting"].get("message", "")
        for pod in here.list("v1", "Pod", SPACE)
        for one in pod["status"].get("containerStatuses", ())
        if "waiting" in one["state"]
    }


def test_its_servers_find_a_node_and_their_volume(stood: Lab) -> None:
    pods = stood.list("v1", "Pod", SPACE)
    assert {pod["metadata"]["labels"]["ocifree/part"] for pod in pods} >= {"code", "pages", "daemon"}
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 1, "the volume is on one node"
    (claim,) = stood.list("v1", "PersistentVolumeClaim", SPACE)
    assert claim["status"]["phase"] == "Bound"
    assert delivery.plan_for(stood.api, "dagster", deployed()).is_noop


def test_its_account_may_what_a_launcher_does_and_no_more(stood: Lab) -> None:
    with stood.plane.session() as asking:

        def may(verb: str, group: str, resource: str, space: str = SPACE) -> bool:
            name, _, sub = resource.partition("/")
            where = {"verb": verb, "group": group, "resource": name, "subresource": sub, "namespace": space}
            review = {"spec": {"user": ACCOUNT, "groups": list(GROUPS), "resourceAttributes": where}}
            at = f"https://127.0.0.1:{stood.plane.port}/apis/authorization.k8s.io/v1/subjectaccessreviews"
            answer = asking.post(at, json=review)
            assert answer.ok, answer.text
            return bool(answer.json()["status"]["allowed"])

        refused = [(verb, *what) for what, verbs in NEEDED.items() for verb in verbs if not may(verb, *what)]
        assert refused == []
        allowed = [(verb, *what) for what, verbs in FORBIDDEN.items() for verb in verbs if may(verb, *what)]
        allowed += [(verb, *what) for what, verbs in NEEDED.items() for verb in verbs if may(verb, *what, "sample")]
        assert allowed == []


@with_packages
def test_a_run_is_launched_looked_after_and_ended_with_the_rights_of_its_account(stood: Lab, tmp_path: Path) -> None:
    from dagster._core.code_pointer import ModuleCodePointer
    from dagster._core.launcher import LaunchRunContext, WorkerStatus
    from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin

    known = stood.plane.kubeconfig(ACCOUNT, *GROUPS).get_secret_value()
    file = stood.plane.write("account", known.replace("https://kubernetes:", "https://127.0.0.1:"))
    launcher = launcher_with({"load_incluster_config": False, "kubeconfig_file": str(file)})
    pointer = ModuleCodePointer("ocifree_pipeline.definitions", "defs", working_directory=None)
    origin = JobPythonOrigin("deploy", RepositoryPythonOrigin("python", pointer))
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        launcher.register_instance(instance)
        run = instance.add_run(dg.DagsterRun(job_name="deploy", job_code_origin=origin))
        launcher.launch_run(LaunchRunContext(run, workspace=None))

        def pod() -> Any:
            found = stood.list("v1", "Pod", SPACE)
            return next((one for one in found if one["metadata"]["labels"].get("dagster/run-id") == run.run_id), None)

        stood.until(lambda: "no pod yet" if pod() is None or pod()["status"]["phase"] != "Succeeded" else "")
        (node,) = {one["spec"]["nodeName"] for one in stood.list("v1", "Pod", SPACE)}
        assert pod()["spec"]["nodeName"] == node, "beside the volume"
        stood.until(lambda: launcher.check_run_worker_health(run).status != WorkerStatus.SUCCESS)
        assert "Pod status: Succeeded" in launcher.get_run_worker_debug_info(run)
        assert launcher.terminate(run.run_id), [one.message for one in instance.all_logs(run.run_id)]
        stood.until(lambda: pod() or stood.list("batch/v1", "Job", SPACE))


def here_as_there(folder: Path, container: Any) -> tuple[list[str], dict[str, str]]:
    """Words and variables of a container; only the places are of this computer."""
    for name in ("history", "deployment"):
        (folder / name).mkdir()
    (folder / "deployment" / "deployment.yaml").write_text(example_path("talos-native").read_text("utf-8"))
    given = {one["name"]: one.get("value", PASSWORD) for one in container["env"]}
    environ = {name: f"{folder}{value}" if value.startswith("/") else value for name, value in given.items()}
    command, *words = container["command"]
    environ |= {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return [str(PROGRAMS / command), *words], environ


def test_the_code_server_starts_as_its_container_does(tmp_path: Path) -> None:
    words, environ = here_as_there(tmp_path, server("code")[1])
    port = free_port()
    words = [{"0.0.0.0": "127.0.0.1", "4000": str(port)}.get(one, one) for one in words]  # noqa: S104
    health = [str(PROGRAMS / "dagster"), "api", "grpc-health-check", "-p", str(port)]
    log = tmp_path / "log"
    with running(*words, log=log, environ=environ) as child:
        until(lambda: subprocess.run(health, capture_output=True, check=False).returncode == 0, child, log)


NOWHERE = {
    "current-context": "none",
    "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
    "clusters": [{"name": "none", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "none", "user": {}}],
}


@with_packages
def test_a_database_of_the_rendered_name_becomes_the_history(database: int, tmp_path: Path) -> None:
    import psycopg2

    (container,) = server("code")[0]["initContainers"]
    words, environ = here_as_there(tmp_path, container)
    found = settings()
    where = found["storage"]["postgres"]["postgres_db"]
    there = psycopg2.connect(host="127.0.0.1", port=database, user="dagster", password=PASSWORD, dbname="postgres")
    there.autocommit = True
    with there.cursor() as asking:
        asking.execute(f'create database "{where["db_name"]}"')
    there.close()
    where |= {"hostname": "127.0.0.1", "port": database}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(NOWHERE))
    found["run_launcher"]["config"] |= {"load_incluster_config": False, "kubeconfig_file": str(kubeconfig)}
    (tmp_path / "history" / "dagster.yaml").write_text(yaml.safe_dump(found))
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    there = psycopg2.connect(
        host="127.0.0.1", port=database, user="dagster", password=PASSWORD, dbname=where["db_name"]
    )
    with there.cursor() as asking:
        asking.execute("select count(*) from event_logs")
        assert asking.fetchone() == (0,)
    there.close()
