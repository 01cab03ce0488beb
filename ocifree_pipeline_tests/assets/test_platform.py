"""The platform in the real graph on a Kubernetes API with its controllers: once, again, and after what may go wrong."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest
import yaml

from ocifree_pipeline.definitions import definitions_for
from ocifree_pipeline.deployment.blueprint import Blueprint, blueprint_of
from ocifree_pipeline.deployment.errors import Transient
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.deployment.platform import manifest_values, parts_for_flux
from ocifree_pipeline.deployment.problems import InvalidDeclaration
from ocifree_pipeline.record.bootstrap import CILIUM, bootstrap_urls, cilium_installer
from ocifree_pipeline.record.tenancy import PlanFacts
from ocifree_pipeline.sandbox.clock import Mode
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
    caught: pytest.CaptureFixture[str]

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

    def said(self, *keys: str) -> str:
        """What a run that ends well told on its way."""
        self.caught.readouterr()
        self.materialize(*keys)
        return self.caught.readouterr().err

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
def platform(
    folder: Path,
    patch: pytest.MonkeyPatch,
    caught: pytest.CaptureFixture[str],
    wanted: Blueprint,
    mode: Mode = "immediate",
    **node: Any,
) -> Iterator[Platform]:
    patch.setenv("DAGSTER_HOME", str(folder / "home"))
    patch.setattr("ocifree_pipeline.record.definition.RETRY_SECONDS", 0)
    patch.setattr(f"{Deployment.__module__}.definitions_for", _definitions_for)
    patch.setattr("ocifree_pipeline.systems.kube.ingress.open_socket", _nobody)
    folder.mkdir(exist_ok=True)
    with served(folder, mode=mode) as here, dg.DagsterInstance.ephemeral() as instance:
        patch.setattr(time, "sleep", here.advance)
        patch.setattr("ocifree_pipeline.systems.ssh.forward.forwarded", lambda *_: _here(here))
        found = Deployment(cast("Any", None), wanted, instance)
        found.pretend("tenancy/limits", **LIMITS)
        found.pretend("tenancy/plan", **PlanFacts.of(wanted.plan).model_dump(mode="json"))
        found.pretend("oci/network", **NETWORK)
        found.pretend("oci/reserved_ips", addresses={})
        found.pretend("machines/bastion", **machine("bastion", answers="linux"))
        found.pretend("machines/ampere_1", **machine("ampere_1"))
        vault_of(wanted.declaration.name).put({"talos/kubeconfig": kubeconfig()})
        standing = Machine(addresses=("10.0.1.10",), control_plane=True, **node)
        here.inside(lambda cluster: cluster.add_node("lab-ampere-1", standing))
        here.inside(
            lambda cluster: cluster.bootstrap({CILIUM: cilium_installer(wanted)}, bootstrap_urls(wanted).values())
        )
        here.inside(lambda cluster: cluster.settle())
        yield Platform(found, here, caught)


def _definitions_for(wanted: Blueprint) -> dg.Definitions:
    return definitions() if wanted is drawn() else definitions_for(wanted)


def _nobody(host: str, *_: Any, **__: Any) -> Any:
    raise Transient(f"{host} does not answer", why="this cluster has no way in", fix="none")


@contextmanager
def _here(here: Served) -> Iterator[tuple[str, int]]:
    yield "127.0.0.1", here.port


OPTIONS = {"tailscale_operator": {"enabled": True}, "namespaces": {"web": {"cpu": "500m", "memory": "512Mi"}}}


@cache
def drawn() -> Blueprint:
    return blueprint(**OPTIONS)


@cache
def definitions() -> dg.Definitions:
    """Drawing the graph takes longer than most of what is done with it here."""
    return definitions_for(drawn())


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TS_CLIENT_ID", "client-id")
    monkeypatch.setenv("TS_CLIENT_SECRET", "hunter2-client-secret")


@pytest.fixture
def lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], keys: None
) -> Iterator[Platform]:
    """On which everything happens at once."""
    with platform(tmp_path, monkeypatch, capfd, drawn()) as found:
        yield found


@pytest.fixture
def timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], keys: None
) -> Iterator[Platform]:
    """On which everything takes its time, and whoever waits lets it pass. Nothing runs yet but the job for Cilium."""
    with platform(tmp_path, monkeypatch, capfd, drawn(), mode="manual") as found:
        yield found


def test_everything_works_and_the_second_run_writes_nothing(lab: Platform) -> None:
    result = lab.materialize(*EVERYTHING)
    judged = checks(result)
    # Nobody leads from a public address to this cluster; test_platform_on_oracle.py does.
    drift = {f"{key.rpartition('/')[2]}:drift": True for key in EVERYTHING if key != AGE}
    assert judged == drift | {
        "cilium:cilium_ok": True,
        "cilium:in_time": True,
        "flux:releases_ready": True,
        "gateway:in_time": True,
        "gateway:ingress_reachable": False,
    }
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


def test_what_is_secret_is_neither_recorded_nor_logged(lab: Platform, capfd: pytest.CaptureFixture[str]) -> None:
    runs = [lab.materialize(*EVERYTHING), lab.materialize(*EVERYTHING)]
    said = capfd.readouterr()
    logs = [
        str(entry) + repr(entry.dagster_event) for run in runs for entry in lab.deployment.instance.all_logs(run.run_id)
    ]
    told = said.out + said.err + "".join(logs)
    told += str([lab.deployment.metadata(key) for key in EVERYTHING])
    key = lab.secret("flux-system", "sops-age")["age.agekey"]
    assert key.startswith("AGE-SECRET-KEY-")
    secrets = [key, "hunter2-client-secret", base64.b64encode(b"hunter2-client-secret").decode()]
    secrets += [line for line in kubeconfig().get_secret_value().splitlines() if "key-data" in line]
    assert not [secret[:8] for secret in secrets if secret in told]
    assert lab.secret("tailscale", "operator-oauth") == {
        "client_id": "client-id",
        "client_secret": "hunter2-client-secret",
    }


# the age key ----------------------------------------------------------------------------------------------------------


def test_the_age_key_is_made_once_and_never_replaced(lab: Platform) -> None:
    lab.materialize(AGE)
    facts = lab.deployment.facts(AGE)
    assert "make the age key" in lab.deployment.metadata(AGE)["plan"]
    vault = vault_of("lab")
    kept = vault.get(AGE)
    assert lab.secret("flux-system", "sops-age")["age.agekey"] == kept.get_secret_value()

    vault.remove(frozenset({AGE}))
    told = lab.told(AGE)
    assert (told["error"], told["what"]) == ("PreconditionMissing", "the age key of the repository is lost")
    assert AGE not in vault.names()

    vault.put({AGE: kept})
    lab.materialize(AGE)
    assert lab.deployment.facts(AGE) == facts


def test_a_cluster_with_another_age_key_is_not_overwritten(lab: Platform) -> None:
    lab.materialize(AGE)
    there = lab.secret("flux-system", "sops-age")
    lab.deployment.instance.wipe_assets([dg.AssetKey(["platform", "sops_age"])])
    vault_of("lab").remove(frozenset({AGE}))
    told = lab.told(AGE)
    assert (told["error"], told["what"]) == ("Conflict", "the cluster holds another age key than the vault")
    assert lab.secret("flux-system", "sops-age") == there


# what goes wrong ------------------------------------------------------------------------------------------------------


def test_nodes_become_ready_while_we_wait(timed: Platform) -> None:
    said = timed.said(CILIUM_KEY)
    assert "NetworkPluginNotReady" in said
    assert timed.deployment.facts(CILIUM_KEY)["nodes"] == ["lab-ampere-1"]


def test_an_installer_that_cannot_be_pulled_at_first(timed: Platform) -> None:
    timed.here.strike(operation="pull/quay.io/cilium/cilium-cli:*", times=2, message="connection refused")
    assert "wait: job cilium-install: has not finished yet" in timed.said(CILIUM_KEY)


def test_a_release_that_fails_and_recovers_is_waited_for(timed: Platform) -> None:
    timed.materialize(CILIUM_KEY, FLUX)
    timed.here.strike(operation="release/tailscale/tailscale-operator", times=2, message="no space left on device")
    said = timed.said(TAILSCALE)
    assert "Helm install failed for release tailscale/tailscale-operator" in said
    assert "no space left on device" in said
    assert timed.deployment.facts(TAILSCALE)["release"] == "1.102.3"


def test_a_release_that_never_comes_is_told_in_the_controllers_words(
    timed: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed.materialize(CILIUM_KEY, FLUX)
    monkeypatch.setattr(time, "monotonic", lambda: timed.here.world.clock.now().timestamp())
    rule = timed.here.strike(operation="release/tailscale/tailscale-operator", times=None, message="no space left")
    told = timed.told(TAILSCALE)
    assert told["error"] == "NotVerified"
    assert told["what"] == "waited 900 s until HelmRelease tailscale/tailscale-operator works, in vain"
    assert "no space left" in told["why"]
    assert checks(timed.materialize(FLUX, CILIUM_KEY))["flux:releases_ready"] is False

    rule.times = 0
    timed.materialize(TAILSCALE)
    assert (
        "ask Flux to try HelmRelease tailscale/tailscale-operator again" in timed.deployment.metadata(TAILSCALE)["plan"]
    )


def test_a_repository_of_charts_that_is_away_for_a_while(timed: Platform) -> None:
    timed.materialize(CILIUM_KEY, FLUX)
    timed.here.strike(operation="fetch/https://pkgs.tailscale.com/helmcharts", times=2, message="i/o timeout")
    assert "i/o timeout" in timed.said(TAILSCALE)


def test_an_image_that_cannot_be_pulled_at_first_is_waited_for(timed: Platform) -> None:
    timed.materialize(CILIUM_KEY, FLUX)
    timed.here.strike(operation="pull/docker.io/hashicorp/http-echo:*", times=1, message="toomanyrequests")
    assert "wait: Deployment sample/hello: 0 of 1 pods are available" in timed.said(GATEWAY)


def test_another_manager_is_named_and_not_overwritten(lab: Platform) -> None:
    lab.materialize(GATEWAY)
    lab.here.ask(
        "PATCH",
        "/apis/apps/v1/namespaces/sample/deployments/hello?fieldManager=kubectl-scale&force=true",
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "hello"}, "spec": {"replicas": 2}},
        content_type="application/apply-patch+yaml",
    )
    told = lab.told(GATEWAY)
    assert (told["error"], told["reaction"]) == ("Conflict", "stop")
    assert told["what"] == "compare Deployment sample/hello: kubectl-scale manages the same fields"
    assert told["why"] == "kubectl-scale has set .spec.replicas"


def test_drift_is_found_without_writing_and_told_apart_by_who_may_mend_it(lab: Platform) -> None:
    lab.materialize(GATEWAY)
    lab.here.inside(lambda cluster: cluster.api.client.delete("apps/v1/deployments", "sample", "hello"))
    lab.forget()
    drift = drift_of(lab, GATEWAY)
    assert not drift.passed
    assert "create Deployment sample/hello" in str(drift.description)
    assert (drift.severity, lab.writes()) == (dg.AssetCheckSeverity.ERROR, [])
    lab.materialize(GATEWAY)
    assert drift_of(lab, GATEWAY).passed
    lab.here.ask(
        "PATCH",
        "/apis/apps/v1/namespaces/sample/deployments/hello?fieldManager=kubectl-scale&force=true",
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "hello"}, "spec": {"replicas": 2}},
        content_type="application/apply-patch+yaml",
    )
    drift = drift_of(lab, GATEWAY)
    assert (drift.passed, drift.severity) == (False, dg.AssetCheckSeverity.WARN), "a person decides"
    assert "kubectl-scale" in str(drift.description)


def drift_of(lab: Platform, asset: str) -> Any:
    definitions = lab.deployment.definitions
    selection = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(asset.split("/")), "drift"))
    job = dg.define_asset_job("checked", selection=selection)
    picked = dg.Definitions(assets=definitions.assets, asset_checks=definitions.asset_checks, jobs=[job])
    result = picked.resolve_job_def("checked").execute_in_process(instance=lab.deployment.instance)
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


@pytest.mark.parametrize(
    "rule",
    [{"moment": "reset"}, {"moment": "before", "status": 503}, {"moment": "drop"}, {"moment": "slow", "delay": 0.6}],
)
def test_an_api_that_breaks_off_or_is_slow_is_tried_again(
    lab: Platform, rule: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if rule["moment"] == "slow":
        monkeypatch.setattr("ocifree_pipeline.systems.kube.api.READ_SECONDS", 0.3)
    lab.here.strike(operation="apply/deployments.apps", times=1, code="ServiceUnavailable", **rule)
    lab.materialize(GATEWAY)
    assert lab.deployment.metadata(GATEWAY)["attempt"] == 2


def test_a_cluster_without_flux_is_told_so(lab: Platform) -> None:
    lab.here.inside(lambda cluster: cluster.api.client.delete("apps/v1/deployments", "flux-system", "helm-controller"))
    told = lab.told(FLUX)
    assert told["what"] == "Flux is not on this cluster: helm-controller missing"


def test_a_lost_kubeconfig_is_named(lab: Platform) -> None:
    vault_of("lab").remove(frozenset({"talos/kubeconfig"}))
    told = lab.told(POLICIES)
    assert (told["error"], told["fix"]) == ("PreconditionMissing", "ocifree up --select 'talos/kubeconfig'")


# what may be declared -------------------------------------------------------------------------------------------------


def test_oracles_controller_greets_nodes_before_anything_else_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    wanted = blueprint(ccm={"enabled": True})
    greeted = {"external_cloud_provider": True, "provider_id": "ocid1.instance.oc1..a"}
    with platform(tmp_path, monkeypatch, capfd, wanted, "manual", **greeted) as lab:
        lab.materialize(CCM, CILIUM_KEY, FLUX)
        assert lab.deployment.facts(CCM)["nodes"] == ["lab-ampere-1"]
        config = lab.here.core.read_namespaced_config_map("oci-cloud-controller-manager", "kube-system")
        found = yaml.safe_load(config.data["cloud-provider.yaml"])
        assert found["useInstancePrincipals"] is True
        assert (found["vcn"], found["loadBalancer"]["subnet1"]) == (NETWORK["vcn"], "ocid1.subnet.oc1..s")
        lab.forget()
        lab.materialize(CCM, CILIUM_KEY, FLUX)
        assert lab.writes() == []
        assert drift_of(lab, CCM).passed
        lab.here.core.delete_namespaced_config_map("oci-cloud-controller-manager", "kube-system")
        assert "create ConfigMap kube-system/oci-cloud-controller-manager" in str(drift_of(lab, CCM).description)


def test_oracles_controller_is_for_native_nodes_only() -> None:
    data = yaml.safe_load(example("proxmox-ceph"))
    data["kubernetes"]["ccm"] = {"enabled": True}
    with pytest.raises(InvalidDeclaration) as raised:
        parse(yaml.safe_dump(data))
    assert "Oracle's controller knows Oracle's machines" in str(raised.value)


REPOSITORY = "https://git.example.org/lab.git"


def following(**more: Any) -> Blueprint:
    return blueprint(flux={"enabled": True, "repository": REPOSITORY, "credentials": "env:GIT_TOKEN", **more})


def test_a_repository_is_followed_with_its_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GIT_TOKEN", "hunter2")
    with platform(tmp_path, monkeypatch, capfd, following()) as lab:
        published = {"settings.yaml": yaml.safe_dump(CONFIG_MAP)}
        lab.here.inside(lambda cluster: cluster.publish(REPOSITORY, "a" * 40, published))
        lab.materialize(CILIUM_KEY, AGE, FLUX)
        assert lab.deployment.facts(FLUX)["repository"] == REPOSITORY
        assert lab.secret("flux-system", "git-credentials") == {"username": "git", "password": "hunter2"}
        assert lab.here.core.read_namespaced_config_map("from-git", "default").data == {"a": "b"}


CONFIG_MAP = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "from-git", "namespace": "default"},
    "data": {"a": "b"},
}


def test_a_deploy_key_needs_known_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----\n"
    wanted = following(repository="ssh://git@git.example.org/lab.git")
    monkeypatch.setenv("GIT_TOKEN", key)
    with platform(tmp_path, monkeypatch, capfd, wanted) as lab:
        told = lab.told(FLUX)
        assert (told["error"], told["what"]) == ("Refused", "the deploy key comes without known_hosts")
        assert "hunter2" not in str(told)


def test_flux_delivers_what_the_repository_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from ocifree_pipeline.systems.kube.rendering import render, versions
    from ocifree_pipeline.systems.kube.synced import write_tree

    monkeypatch.setenv("GIT_TOKEN", "hunter2")
    wanted = following(delivers=True)
    values = manifest_values(wanted, versions())
    for part in parts_for_flux(wanted):
        write_tree(tmp_path / "repo", part, render(part, values))
    files = {str(file.relative_to(tmp_path / "repo")): file.read_text() for file in (tmp_path / "repo").rglob("*.yaml")}
    with platform(tmp_path, monkeypatch, capfd, wanted) as lab:
        lab.here.inside(lambda cluster: cluster.publish(REPOSITORY, "a" * 40, files))
        lab.materialize(CILIUM_KEY, AGE, FLUX)
        lab.forget()
        lab.materialize(POLICIES, GATEWAY)
        assert lab.writes() == [], "Flux has brought all of it"
        assert lab.deployment.facts(GATEWAY)["listeners"] == ["http"]


def test_a_certificate_of_your_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHAIN", "-----BEGIN CERTIFICATE-----")
    monkeypatch.setenv("KEY", "hunter2")
    tls = {"certificate": "env:CHAIN", "private_key": "env:KEY"}
    wanted = blueprint(gateway={"hostname": "lab.example.org", "tls": tls})
    with platform(tmp_path, monkeypatch, capfd, wanted) as lab:
        lab.materialize(GATEWAY)
        assert lab.deployment.facts(GATEWAY)["listeners"] == ["http", "https"]
        assert lab.secret("gateway", "gateway-tls")["tls.key"] == "hunter2"


def test_a_namespace_that_is_no_longer_declared_is_left_to_its_owner(
    lab: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.materialize(POLICIES)
    fewer = Deployment(cast("Any", None), blueprint(), lab.deployment.instance)
    fewer.materialize(POLICIES)
    plan = fewer.metadata(POLICIES)["plan"]
    assert "left as it is: Namespace web" in plan
    assert "remove ResourceQuota web/all-pods" in plan
    assert lab.here.core.read_namespace("web").metadata.deletion_timestamp is None
