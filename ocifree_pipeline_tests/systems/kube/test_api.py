"""Whom our session believes, and what its calls give."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import urllib3

from ocifree_pipeline.deployment.errors import AuthFailed, Forbidden, NotVerified, OcifreeError, Throttled, Transient
from ocifree_pipeline.systems.kube.api import api_at
from ocifree_pipeline.systems.kube.kubeconfig import credentials_of
from ocifree_pipeline.systems.kube.objects import Ref
from ocifree_pipeline.systems.talos.certificates import new_authority
from ocifree_pipeline_tests.systems.kube.conftest import Lab, kubeconfig

SYSTEM = Ref("", "Namespace", "", "kube-system")


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data}


def test_the_name_counts_and_not_the_address(lab: Lab) -> None:
    assert lab.api.version() == "1.36.3"
    assert lab.api.get(lab.api.require("v1", "Namespace"), SYSTEM) is not None


@pytest.mark.parametrize(
    ("config", "kind", "what"),
    [
        (
            kubeconfig(ca=new_authority("ecdsa", datetime.now(UTC), organization="x").certificate),
            NotVerified,
            "whoever answers is not this cluster",
        ),
        (kubeconfig(server="https://elsewhere:6443"), NotVerified, "whoever answers is not this cluster"),
        (kubeconfig(groups="nobodies"), Forbidden, "list pods: not allowed"),
    ],
)
def test_who_is_not_believed(lab: Lab, config: Any, kind: type[OcifreeError], what: str) -> None:
    pods = lab.api.require("v1", "Pod")
    with api_at(("127.0.0.1", lab.here.port), credentials_of(config)) as api, pytest.raises(kind) as raised:
        api.list(pods)
    assert what in raised.value.what


def test_a_token_nobody_knows(lab: Lab) -> None:
    lab.api.headers = {"Authorization": "Bearer unknown"}
    with pytest.raises(AuthFailed):
        lab.api.list(lab.api.require("v1", "Pod"))


def test_lists_come_page_by_page(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocifree_pipeline.systems.kube.api.PAGE", 2)
    resource = lab.api.require("v1", "ConfigMap")
    for number in range(5):
        lab.api.apply(resource, config_map(f"c{number}"))
    found = lab.api.list(resource, "default")
    names = [one["metadata"]["name"] for one in found if one["metadata"]["name"].startswith("c")]
    assert names == [f"c{number}" for number in range(5)]
    assert {one["kind"] for one in found} == {"ConfigMap"}


def test_a_rehearsal_leaves_nothing(lab: Lab) -> None:
    resource = lab.api.require("v1", "ConfigMap")
    rehearsed = lab.api.rehearse(resource, config_map("new", a="b"))
    assert rehearsed["data"] == {"a": "b"}
    assert lab.api.get(resource, Ref("", "ConfigMap", "default", "new")) is None
    assert lab.writes() == []


def test_only_the_very_object_is_deleted(lab: Lab) -> None:
    resource, ref = lab.api.require("v1", "ConfigMap"), Ref("", "ConfigMap", "default", "one")
    made = lab.api.apply(resource, config_map("one"))
    with pytest.raises(Transient):
        lab.api.delete(resource, ref, "another-uid")
    lab.api.delete(resource, ref, made["metadata"]["uid"])
    assert lab.api.get(resource, ref) is None
    lab.api.delete(resource, ref, made["metadata"]["uid"])


def test_unknown_fields_and_kinds_are_refused(lab: Lab) -> None:
    with pytest.raises(OcifreeError) as raised:
        lab.api.apply(lab.api.require("v1", "ConfigMap"), config_map("x") | {"dta": {}})
    assert "dta" in raised.value.why
    with pytest.raises(NotVerified) as missing:
        lab.api.require("example.org/v1", "Thing")
    assert missing.value.what == "the cluster knows no Thing of example.org/v1"


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ({"moment": "reset"}, Transient),
        ({"moment": "drop"}, Transient),
        ({"moment": "before", "status": 503, "code": "ServiceUnavailable"}, Transient),
        ({"moment": "before", "status": 429, "code": "TooManyRequests"}, Throttled),
        ({"moment": "after", "status": 500, "code": "InternalError"}, Transient),
        ({"moment": "truncate"}, Transient),
    ],
)
def test_what_may_pass_is_called_so(lab: Lab, rule: dict[str, Any], kind: type[OcifreeError]) -> None:
    lab.api.require("v1", "Namespace")
    lab.here.strike(operation="get/namespaces", times=1, **rule)
    with pytest.raises(kind):
        lab.api.get(lab.api.require("v1", "Namespace"), SYSTEM)
    assert lab.api.get(lab.api.require("v1", "Namespace"), SYSTEM) is not None


def test_a_slow_server_is_given_up(lab: Lab) -> None:
    lab.api.require("v1", "Namespace")
    lab.api.pool.timeout = urllib3.Timeout(0.2)
    lab.here.strike(operation="get/namespaces", times=1, moment="slow", delay=2.0)
    with pytest.raises(Transient) as raised:
        lab.api.get(lab.api.require("v1", "Namespace"), SYSTEM)
    assert raised.value.what == "read Namespace kube-system: no answer"
