"""The API on a bad day, and a world that is put away and taken up again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from kubernetes import client as k8s
from kubernetes import watch

from ocifree_pipeline.sandbox import instruments, snapshot
from ocifree_pipeline.sandbox.kubernetes import cluster as clusters
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline_tests.sandbox.kubernetes.platform import stand_up
from ocifree_pipeline_tests.sandbox.kubernetes.served import NAME, Served, served
from ocifree_pipeline_tests.sandbox.kubernetes.test_api import config_map

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(autouse=True)
def calm(here: Served) -> Iterator[None]:
    yield
    instruments.of(here.world).faults.clear()


def test_an_answer_may_be_late(here: Served) -> None:
    rule = here.strike(operation="list/configmaps", moment="slow", delay=0.3)
    began = time.monotonic()
    here.core.list_namespaced_config_map("default")
    assert time.monotonic() - began >= 0.3
    assert rule.fired == 1


def test_an_error_may_come_before_the_work_or_after_it(here: Served) -> None:
    here.strike(
        operation="create/configmaps", status=503, code="ServiceUnavailable", message="etcdserver: leader changed"
    )
    reply = here.ask("POST", CONFIG_MAPS, config_map("before"))
    assert (reply.status_code, reply.json()["message"]) == (503, "etcdserver: leader changed")
    assert here.ask("GET", f"{CONFIG_MAPS}/before").status_code == 404
    here.strike(operation="create/configmaps", moment="after", status=504, code="Timeout", message="request timed out")
    assert here.ask("POST", CONFIG_MAPS, config_map("after")).status_code == 504
    assert here.ask("GET", f"{CONFIG_MAPS}/after").ok


def test_a_conflict_may_be_made_up(here: Served) -> None:
    here.strike(operation="apply/configmaps", status=409, code="Conflict", message="the object has been modified")
    found = here.dynamic.resources.get(api_version="v1", kind="ConfigMap")
    with pytest.raises(k8s.ApiException) as raised:
        here.dynamic.server_side_apply(
            found, body=config_map("made"), name="made", namespace="default", field_manager="ann"
        )
    assert (raised.value.status, json.loads(raised.value.body)["reason"]) == (409, "Conflict")


@pytest.mark.parametrize("moment", ["drop", "reset"])
def test_a_connection_may_be_cut(here: Served, moment: str) -> None:
    here.strike(operation="get/configmaps", moment=moment)
    with pytest.raises(requests.ConnectionError):
        here.ask("GET", f"{CONFIG_MAPS}/kube-root-ca.crt")
    assert here.ask("GET", f"{CONFIG_MAPS}/kube-root-ca.crt").ok


def test_a_watch_may_break_off_and_be_taken_up_where_it_was(here: Served) -> None:
    version = here.core.list_namespace().metadata.resource_version
    rule = here.strike(operation="watch/namespaces", moment="truncate")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        here.ask("GET", "/api/v1/namespaces?watch=true")
    here.core.create_namespace(k8s.V1Namespace(metadata=k8s.V1ObjectMeta(name="meanwhile")))
    stream = watch.Watch().stream(here.core.list_namespace, resource_version=version, timeout_seconds=5)
    assert next(stream)["object"].metadata.name == "meanwhile"
    assert rule.fired == 1


def test_what_was_asked_is_on_record(here: Served) -> None:
    instruments.of(here.world).recorder.clear()
    here.ask("POST", CONFIG_MAPS, config_map("recorded"))
    here.ask("POST", f"{CONFIG_MAPS}?dryRun=All", config_map("rehearsed"))
    here.ask("GET", f"{CONFIG_MAPS}/recorded")
    assert here.record(mutating=True) == ["create/configmaps"], "a rehearsal changes nothing"
    assert here.record(mutating=False) == ["create/configmaps", "get/configmaps"]


def test_the_client_that_leaves_is_let_go(here: Served) -> None:
    def listeners() -> int:
        return here.inside(lambda cluster: len(cluster.store._listeners))

    before = listeners()
    stream = watch.Watch().stream(here.core.list_namespace, timeout_seconds=60)
    next(stream)
    assert listeners() == before + 1
    stream.close()
    here.admin.rest_client.pool_manager.clear()
    deadline = time.monotonic() + 5
    while listeners() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert listeners() == before


# state ----------------------------------------------------------------------------------------------------------------


def test_a_cluster_is_taken_up_where_it_was_put_away(tmp_path: Path) -> None:
    with served(tmp_path, mode="manual") as here:
        here.inside(lambda cluster: cluster.add_node("node-1", clusters.Machine(("10.0.1.10",), control_plane=True)))
        here.inside(lambda cluster: here.world.directory.mkdir())
        here.inside(lambda cluster: snapshot.save(here.world, tmp_path / "early"))
        stand_up(here)
        version = here.core.list_node().metadata.resource_version
        here.inside(lambda cluster: snapshot.save(here.world, tmp_path / "late"))
        here.inside(lambda cluster: snapshot.restore(here.world, tmp_path / "early"))
        assert here.inside(lambda cluster: cluster.nodes()) == {"node-1": False}
        with pytest.raises(k8s.ApiException, match="NotFound"):
            here.core.read_namespaced_config_map("cilium-install", "kube-system")
        here.inside(lambda cluster: snapshot.restore(here.world, tmp_path / "late"))
        assert here.core.read_namespaced_config_map("cilium-install", "kube-system")
        assert here.core.list_node().metadata.resource_version == version
        here.core.create_namespaced_config_map("default", config_map("new"))


def test_what_controllers_wait_for_survives_a_snapshot(tmp_path: Path) -> None:
    first = World(tmp_path / "first", seed=7, mode="manual")
    found = clusters.create(first, NAME)
    found.add_node("node-1", clusters.Machine(("10.0.1.10",), control_plane=True))
    found.bootstrap({}, ["https://github.com/fluxcd/flux2/releases/download/v2.9.4/install.yaml"])
    from ocifree_pipeline_tests.sandbox.kubernetes.platform import CILIUM, GATEWAY_API

    found.bootstrap({"cilium": CILIUM}, [GATEWAY_API])
    second = World(tmp_path / "second", seed=7, mode="manual")
    second.load_json(json.loads(json.dumps(first.to_json())))
    for world in (first, second):
        for _ in range(40):
            world.clock.advance(10)
            world.settle()
    assert clusters.find_existing(second, NAME).nodes() == {"node-1": True}
    assert shape(first) == shape(second)


def shape(world: World) -> Any:
    """What is in the cluster, without numbers that count and names that are made up."""
    store = clusters.find_existing(world, NAME).store
    return {
        resource: sorted((one["metadata"].get("generateName") or one["metadata"]["name"]) for one in table.values())
        for resource, table in store.state["objects"].items()
    }


def test_a_backup_of_etcd_brings_the_objects_back_and_no_watch_survives_it(tmp_path: Path) -> None:
    with served(tmp_path) as here:
        here.core.create_namespaced_config_map("default", config_map("kept", a="1"))
        dumped = here.inside(lambda cluster: cluster.dump())
        before = here.core.list_namespaced_config_map("default").metadata.resource_version
        here.core.delete_namespaced_config_map("kept", "default")
        here.core.create_namespaced_config_map("default", config_map("lost"))
        here.inside(lambda cluster: cluster.load(dumped))
        assert here.core.read_namespaced_config_map("kept", "default").data == {"a": "1"}
        assert here.ask("GET", f"{CONFIG_MAPS}/lost").status_code == 404
        with pytest.raises(k8s.ApiException, match="too old resource version"):
            list(watch.Watch().stream(here.core.list_namespace, resource_version=before, timeout_seconds=1))
