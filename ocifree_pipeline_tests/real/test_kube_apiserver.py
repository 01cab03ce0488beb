"""manifests/ and the controllers of the sandbox, judged by a real kube-apiserver with a real etcd behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ocifree_pipeline.deployment.errors import OcifreeError
from ocifree_pipeline.record.bootstrap import bootstrap_urls, cilium_installer
from ocifree_pipeline.sandbox.kubernetes import cluster as clusters
from ocifree_pipeline.sandbox.kubernetes.catalogue import addresses, charts
from ocifree_pipeline.sandbox.kubernetes.remote import Remote, over_http
from ocifree_pipeline.systems.kube import delivery
from ocifree_pipeline.systems.kube.api import Api, api_at
from ocifree_pipeline.systems.kube.kubeconfig import credentials_of
from ocifree_pipeline.systems.kube.objects import DEFINITION, NAMESPACE, Object, is_of, labelled, ordered, ref_of
from ocifree_pipeline.systems.kube.rendering import render
from ocifree_pipeline_tests.deployment.telemetry.watched import values
from ocifree_pipeline_tests.real.control_plane import ControlPlane, control_plane
from ocifree_pipeline_tests.sandbox.kubernetes.platform import conditions
from ocifree_pipeline_tests.sandbox.kubernetes.served import NODE
from ocifree_pipeline_tests.test_manifests import TREES, blueprint, tree

pytestmark = [pytest.mark.real("kube-apiserver"), pytest.mark.timeout(300), pytest.mark.xdist_group("kube-apiserver")]

DELIVERED = ("cilium", "flux", "gateway", "oci_ccm", "policies", "sample", "sops_age", "tailscale_operator")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("plane")) as found:
        yield found


@pytest.fixture
def api(plane: ControlPlane) -> Iterator[Api]:
    with api_at(plane.address, credentials_of(plane.kubeconfig())) as found:
        yield found


def brought_by_others(topology: str, form: str) -> list[Object]:
    """The kinds that Flux, the Gateway API, Cilium and charts bring, as far as the sandbox knows them."""
    found = [thing for url in bootstrap_urls(blueprint(topology, "everything")).values() for thing in _manifests(url)]
    found += [*charts.cilium_definitions(), *(one for chart in charts.CHARTS for one in chart.crds())]
    return [one for one in found if is_of(one, DEFINITION) or is_of(one, NAMESPACE)]


def _manifests(url: str) -> list[Any]:
    found = addresses.manifests(url)
    assert found, url
    return found


def put(api: Api, things: Iterable[Object]) -> None:
    for thing in ordered(things):
        api.apply(api.require(str(thing["apiVersion"]), str(thing["kind"])), thing)


def remove(api: Api, things: Iterable[Object]) -> None:
    """All but namespaces, which only a controller can empty."""
    for thing in things:
        resource = api.require(str(thing["apiVersion"]), str(thing["kind"]))
        live = api.get(resource, ref_of(thing))
        if live is not None and not is_of(thing, NAMESPACE):
            api.delete(resource, ref_of(thing), live["metadata"]["uid"])


def deliver(api: Api, part: str, things: Iterable[Object]) -> None:
    """As the assets do it; nothing is left to do after it."""
    plan = delivery.plan_for(api, part, things)
    assert plan.changes
    delivery.apply(api, plan, lambda line: None)
    assert delivery.plan_for(api, part, things).is_noop


@pytest.mark.parametrize(("topology", "form"), TREES, ids=str)
def test_the_whole_tree_is_taken(api: Api, topology: str, form: str) -> None:
    """First as a rehearsal with strict validation, then truly, then there is nothing to change."""
    put(api, brought_by_others(topology, form))
    parts = {**tree(topology, form), "monitoring": render("monitoring", values(topology))}
    everything = [thing for things in parts.values() for thing in things]
    put(api, [thing for thing in everything if is_of(thing, NAMESPACE)])
    refused = []
    for part, things in parts.items():
        for thing in ordered(things):
            resource = api.require(str(thing["apiVersion"]), str(thing["kind"]))
            try:
                api.rehearse(resource, labelled(thing, part), whoever_manages=True)
            except OcifreeError as error:
                refused.append(f"{part}: {ref_of(thing)}: {error}")
    assert not refused, "\n".join(refused)
    try:
        for part, things in parts.items():
            if things:
                deliver(api, f"{part}-{form}", things)
    finally:
        remove(api, everything)


def test_what_it_takes_it_could_have_refused(api: Api) -> None:
    """A server that takes everything would prove nothing."""
    (service,) = (one for one in tree("talos-native", "example")["sample"] if one["kind"] == "Service")
    put(api, [one for one in tree("talos-native", "example")["sample"] if is_of(one, NAMESPACE)])
    wrong = {**service, "spec": {**service["spec"], "prts": []}}
    with pytest.raises(OcifreeError, match="prts"):
        api.rehearse(api.require("v1", "Service"), wrong)


def test_the_controllers_of_the_sandbox_work_for_it(tmp_path: Path) -> None:
    """A node, Talos's manifests, Cilium and Flux, and then every part of the platform until all of it works."""
    topology, form = "talos-native", "everything"
    drawn = blueprint(topology, form)
    state: dict[str, Any] = {
        "settings": asdict(clusters.Settings()),
        "machines": {"node-1": {"running": True, "since": "2026-01-01T00:00:00Z"} | clusters.clone_fields(NODE)},
        "manifests": {"cilium": {"text": cilium_installer(drawn), "url": False, "problem": "", "done": []}},
        "repositories": {},
    }
    for url in bootstrap_urls(drawn).values():
        state["manifests"][url] = {"text": "", "url": True, "problem": "", "done": []}
    with control_plane(tmp_path, without=("ServiceAccount",)) as plane, plane.session() as speaking:
        remote = Remote(over_http(speaking, f"https://127.0.0.1:{plane.port}"), state)
        remote.converge(("nodes", "node-1"), *(("manifests", name) for name in reversed(state["manifests"])))
        assert {name: one["problem"] for name, one in state["manifests"].items() if one["problem"]} == {}
        with api_at(plane.address, credentials_of(plane.kubeconfig())) as api:
            (node,) = api.list(api.require("v1", "Node"))
            assert conditions(dict(node))["Ready"] == ("True", "KubeletReady")
            for part in ("policies", "gateway", "sample", "cilium"):
                things = tree(topology, form)[part]
                plan = delivery.plan_for(api, part, things)
                delivery.apply(api, plan, lambda line: None)
                remote.converge()
                states = delivery.states_of(api, things)
                assert {str(ref): state for ref, state in states.items() if state.verdict != "ready"} == {}
                assert delivery.plan_for(api, part, things).is_noop
            assert api.list(api.require("v1", "Pod"), "sample")
