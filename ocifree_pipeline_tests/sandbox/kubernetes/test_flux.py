"""Flux in the cluster: charts fetched, releases installed, failing, recovering, upgraded and taken out again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocifree_pipeline_tests.sandbox.kubernetes.platform import conditions, message, stand_up
from ocifree_pipeline_tests.sandbox.kubernetes.served import Served, served
from ocifree_pipeline_tests.sandbox.kubernetes.test_api import MERGE, config_map

RELEASES = "/apis/helm.toolkit.fluxcd.io/v2/namespaces/default/helmreleases"
REPOSITORIES = "/apis/source.toolkit.fluxcd.io/v1/namespaces/default/helmrepositories"
KUSTOMIZATIONS = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/default/kustomizations"
GIT = "/apis/source.toolkit.fluxcd.io/v1/namespaces/default/gitrepositories"
COMMUNITY = "https://prometheus-community.github.io/helm-charts"


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, mode="manual") as found:
        stand_up(found)
        yield found


def repository(here: Served, url: str = COMMUNITY) -> None:
    body = {"metadata": {"name": "charts"}, "spec": {"interval": "1h", "url": url}}
    assert here.ask("POST", REPOSITORIES, body).status_code == 201


def release(chart: str = "kube-state-metrics", version: str = "6.1.0", **spec: Any) -> dict[str, Any]:
    source = {"kind": "HelmRepository", "name": "charts"}
    wanted = {"interval": "10m", "chart": {"spec": {"chart": chart, "version": version, "sourceRef": source}}}
    return {"metadata": {"name": "metrics"}, "spec": wanted | spec}


def read(here: Served, path: str) -> dict[str, Any]:
    found: dict[str, Any] = here.ask("GET", path).json()
    return found


def test_a_release_is_installed_and_waited_for(slow: Served) -> None:
    repository(slow)
    slow.ask("POST", RELEASES, release())
    found = read(slow, f"{RELEASES}/metrics")
    assert conditions(found)["Ready"] == ("Unknown", "Progressing")
    assert message(found) == "Running 'install' action with timeout of 5m0s"
    slow.pass_time(20)
    found = read(slow, f"{RELEASES}/metrics")
    assert conditions(found) == {"Ready": ("True", "InstallSucceeded"), "Released": ("True", "InstallSucceeded")}
    said = "Helm install succeeded for release default/metrics.v1 with chart kube-state-metrics@6.1.0"
    assert message(found) == said
    assert found["status"]["history"][0]["status"] == "deployed"
    secrets = read(slow, "/api/v1/namespaces/default/secrets?labelSelector=owner=helm")["items"]
    assert [one["metadata"]["name"] for one in secrets] == ["sh.helm.release.v1.metrics.v1"]


def test_a_release_that_fails_says_why_and_recovers(slow: Served) -> None:
    repository(slow)
    rule = slow.strike(operation="release/default/metrics", times=2, message="timed out waiting for the condition")
    slow.ask("POST", RELEASES, release(install={"strategy": {"name": "RetryOnFailure", "retryInterval": "1m"}}))
    found = read(slow, f"{RELEASES}/metrics")
    assert conditions(found)["Ready"] == ("False", "InstallFailed")
    assert message(found) == (
        "Helm install failed for release default/metrics with chart kube-state-metrics@6.1.0: "
        "timed out waiting for the condition"
    )
    assert (rule.fired, found["status"]["failures"]) == (1, 1), "its own status is no reason to try again"
    slow.advance(61)
    assert (rule.fired, read(slow, f"{RELEASES}/metrics")["status"]["failures"]) == (2, 2)
    slow.pass_time(90)
    assert conditions(read(slow, f"{RELEASES}/metrics"))["Ready"] == ("True", "InstallSucceeded")


def test_somebody_may_ask_to_try_at_once(slow: Served) -> None:
    repository(slow)
    slow.strike(operation="release/default/metrics", times=1)
    slow.ask("POST", RELEASES, release())
    assert conditions(read(slow, f"{RELEASES}/metrics"))["Ready"] == ("False", "InstallFailed")
    patch = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}}
    slow.ask("PATCH", f"{RELEASES}/metrics", patch, content_type=MERGE)
    slow.pass_time(20)
    found = read(slow, f"{RELEASES}/metrics")
    assert conditions(found)["Ready"] == ("True", "InstallSucceeded")
    assert found["status"]["lastHandledReconcileAt"] == "now"


def test_a_release_whose_pods_never_come_up_fails_after_its_time(slow: Served) -> None:
    repository(slow)
    slow.strike(operation="pull/*kube-state-metrics*", times=None, message="not found")
    slow.ask("POST", RELEASES, release(timeout="2m"))
    slow.pass_time(100)
    assert conditions(read(slow, f"{RELEASES}/metrics"))["Ready"] == ("Unknown", "Progressing")
    slow.pass_time(60)
    found = read(slow, f"{RELEASES}/metrics")
    assert conditions(found)["Ready"] == ("False", "InstallFailed")
    assert "context deadline exceeded: Deployment/default/metrics not ready" in message(found)


@pytest.mark.parametrize(
    ("chart", "version", "said"),
    [
        ("none", "1.0.0", "no 'none' chart with version matching '1.0.0' found"),
        ("kube-state-metrics", "latest", "no 'kube-state-metrics' chart with version matching 'latest' found"),
    ],
)
def test_what_is_not_in_the_repository_is_named(slow: Served, chart: str, version: str, said: str) -> None:
    repository(slow)
    slow.ask("POST", RELEASES, release(chart, version))
    found = read(slow, f"{RELEASES}/metrics")
    assert conditions(found)["Ready"] == ("False", "ArtifactFailed")
    assert said in message(found)
    slow.ask("PATCH", f"{RELEASES}/metrics", {"spec": release()["spec"]}, content_type=MERGE)
    slow.pass_time(20)
    assert conditions(read(slow, f"{RELEASES}/metrics"))["Ready"][0] == "True", "put right, it goes on"


def test_a_repository_that_nobody_knows_and_one_that_answers_later(slow: Served) -> None:
    repository(slow, "https://charts.example.com")
    assert conditions(read(slow, f"{REPOSITORIES}/charts"))["Ready"] == ("False", "Failed")
    rule = slow.strike(operation=f"fetch/{COMMUNITY}", times=2, message="503 Service Unavailable")
    slow.ask("PATCH", f"{REPOSITORIES}/charts", {"spec": {"url": COMMUNITY}}, content_type=MERGE)
    assert "503 Service Unavailable" in message(read(slow, f"{REPOSITORIES}/charts"))
    assert rule.fired == 1
    slow.pass_time(30)
    assert conditions(read(slow, f"{REPOSITORIES}/charts"))["Ready"] == ("True", "Succeeded")


def test_new_values_are_an_upgrade_and_the_same_ones_are_not(slow: Served) -> None:
    source = {"kind": "HelmRepository", "name": "charts"}
    slow.ask(
        "POST",
        REPOSITORIES,
        {"metadata": {"name": "charts"}, "spec": {"interval": "1h", "url": "https://grafana.github.io/helm-charts"}},
    )
    spec = {"chart": "alloy", "version": "1.10.1", "sourceRef": source}
    text = {"kind": "ConfigMap", "name": "values"}
    slow.ask(
        "POST",
        "/api/v1/namespaces/default/configmaps",
        config_map("values") | {"data": {"values.yaml": "controller: {type: deployment}"}},
    )
    body = {"metadata": {"name": "alloy"}, "spec": {"interval": "10m", "chart": {"spec": spec}, "valuesFrom": [text]}}
    slow.ask("POST", RELEASES, body)
    slow.pass_time(20)
    assert read(slow, "/apis/apps/v1/namespaces/default/deployments/alloy")["spec"]["replicas"] == 1
    patch = {"spec": {"values": {"controller": {"replicas": 2}}}}
    slow.ask("PATCH", f"{RELEASES}/alloy", patch, content_type=MERGE)
    slow.pass_time(20)
    found = read(slow, f"{RELEASES}/alloy")
    assert message(found) == "Helm upgrade succeeded for release default/alloy.v2 with chart alloy@1.10.1"
    assert [one["status"] for one in found["status"]["history"]] == ["deployed", "superseded"]
    assert read(slow, "/apis/apps/v1/namespaces/default/deployments/alloy")["spec"]["replicas"] == 2
    slow.ask("PATCH", f"{RELEASES}/alloy", {"spec": {"interval": "20m"}}, content_type=MERGE)
    slow.pass_time(20)
    assert read(slow, f"{RELEASES}/alloy")["status"]["history"][0]["version"] == 2


def test_what_depends_on_another_waits_for_it(slow: Served) -> None:
    repository(slow)
    slow.ask("POST", RELEASES, release(dependsOn=[{"name": "first"}]))
    found = read(slow, f"{RELEASES}/metrics")
    assert (conditions(found)["Ready"], message(found)) == (
        ("False", "DependencyNotReady"),
        "dependency 'default/first' is not ready",
    )
    first = release("prometheus-node-exporter", "4.0.0")
    slow.ask("POST", RELEASES, first | {"metadata": {"name": "first"}})
    slow.pass_time(90)
    assert conditions(read(slow, f"{RELEASES}/metrics"))["Ready"][0] == "True"


def test_a_release_that_is_deleted_leaves_nothing(slow: Served) -> None:
    repository(slow)
    before = {one["metadata"]["name"] for one in read(slow, "/api/v1/namespaces/default/services")["items"]}
    slow.ask("POST", RELEASES, release())
    slow.pass_time(20)
    slow.ask("DELETE", f"{RELEASES}/metrics")
    assert slow.ask("GET", f"{RELEASES}/metrics").status_code == 404
    for path in (
        "/apis/apps/v1/namespaces/default/deployments",
        "/api/v1/namespaces/default/pods",
        "/apis/source.toolkit.fluxcd.io/v1/namespaces/default/helmcharts",
    ):
        assert read(slow, path)["items"] == []
    assert {one["metadata"]["name"] for one in read(slow, "/api/v1/namespaces/default/services")["items"]} == before


def test_nothing_happens_while_the_controllers_of_flux_do_not_run(slow: Served) -> None:
    deployment = "/apis/apps/v1/namespaces/flux-system/deployments/helm-controller"
    slow.ask("PATCH", deployment, {"spec": {"replicas": 0}}, content_type=MERGE)
    repository(slow)
    slow.ask("POST", RELEASES, release())
    slow.pass_time(60)
    assert "status" not in read(slow, f"{RELEASES}/metrics")
    slow.ask("PATCH", deployment, {"spec": {"replicas": 1}}, content_type=MERGE)
    slow.pass_time(60)
    assert conditions(read(slow, f"{RELEASES}/metrics"))["Ready"][0] == "True"


FILES = {
    "lab/one.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {since: 2026-01-01}\n",
    "lab/two.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: two}\n",
    "other.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n",
}


def test_a_folder_of_a_repository_is_kept_in_the_cluster(slow: Served) -> None:
    url = "https://git.example.com/lab.git"
    git = {"metadata": {"name": "lab"}, "spec": {"interval": "1m", "url": url, "ref": {"branch": "main"}}}
    slow.ask("POST", GIT, git)
    assert conditions(read(slow, f"{GIT}/lab"))["Ready"] == ("False", "GitOperationFailed")
    source = {"kind": "GitRepository", "name": "lab"}
    spec = {"interval": "5m", "path": "./lab", "prune": True, "sourceRef": source, "wait": True}
    slow.ask("POST", KUSTOMIZATIONS, {"metadata": {"name": "lab"}, "spec": spec})
    assert conditions(read(slow, f"{KUSTOMIZATIONS}/lab"))["Ready"] == ("False", "ArtifactFailed")
    slow.inside(lambda cluster: cluster.publish(url, "a" * 40, FILES))
    found = read(slow, f"{KUSTOMIZATIONS}/lab")
    assert conditions(found)["Ready"] == ("True", "ReconciliationSucceeded")
    assert found["status"]["lastAppliedRevision"] == f"main@sha1:{'a' * 40}"
    one = read(slow, "/api/v1/namespaces/default/configmaps/one")
    assert one["data"] == {"since": "2026-01-01"}, "a date is a text"
    assert one["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"] == "lab"
    assert slow.ask("GET", "/api/v1/namespaces/default/configmaps/other").status_code == 404
    left = {"lab/one.yaml": FILES["lab/one.yaml"]}
    slow.inside(lambda cluster: cluster.publish(url, "b" * 40, left))
    assert slow.ask("GET", "/api/v1/namespaces/default/configmaps/two").status_code == 404
    slow.inside(
        lambda cluster: cluster.publish(
            url, "c" * 40, left | {"lab/bad.yaml": "apiVersion: v1\nkind: Odd\nmetadata: {name: x}\n"}
        )
    )
    found = read(slow, f"{KUSTOMIZATIONS}/lab")
    assert conditions(found)["Ready"] == ("False", "ReconciliationFailed")
    assert 'no matches for kind "Odd" in version "v1"' in message(found)
    slow.ask("DELETE", f"{KUSTOMIZATIONS}/lab")
    assert slow.ask("GET", "/api/v1/namespaces/default/configmaps/one").status_code == 404
