"""Delivery against an API server: in order, once, without taking anything from others, and resumed after any death."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocifree_pipeline.deployment.errors import Conflict, NotVerified, Refused
from ocifree_pipeline.systems.kube import delivery
from ocifree_pipeline.systems.kube.delivery import apply, plan_for, wait_until_ready
from ocifree_pipeline.systems.kube.objects import Object, Ref
from ocifree_pipeline.systems.kube.secrets import secret
from ocifree_pipeline_tests.systems.kube.conftest import Lab

Tree = dict[str, Any]

NAMESPACE: Tree = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "web"}}
SETTINGS: Tree = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings", "namespace": "web"},
    "data": {"color": "blue"},
}
SERVER: Tree = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "server", "namespace": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "server"}},
        "template": {
            "metadata": {"labels": {"app": "server"}},
            "spec": {"containers": [{"name": "server", "image": "docker.io/hashicorp/http-echo:1.0.0"}]},
        },
    },
}
DEFINITION: Tree = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "lamps.example.org"},
    "spec": {
        "group": "example.org",
        "scope": "Namespaced",
        "names": {"kind": "Lamp", "plural": "lamps", "singular": "lamp", "listKind": "LampList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {"type": "object", "properties": {"on": {"type": "boolean"}}}},
                    }
                },
            }
        ],
    },
}
LAMP: Tree = {
    "apiVersion": "example.org/v1",
    "kind": "Lamp",
    "metadata": {"name": "desk", "namespace": "web"},
    "spec": {"on": True},
}
TREE: tuple[Tree, ...] = (LAMP, SERVER, SETTINGS, DEFINITION, NAMESPACE)
LAMPS = Ref("example.org", "Lamp", "web", "desk")


def ignore(line: str) -> None:
    """Nobody listens."""


def deliver(lab: Lab, *objects: Object, part: str = "web") -> tuple[str, ...]:
    plan = plan_for(lab.api, part, objects)
    apply(lab.api, plan, ignore)
    return plan.lines


def live(lab: Lab, thing: Tree) -> Object | None:
    from ocifree_pipeline.systems.kube.objects import ref_of

    return lab.api.get(lab.api.require(thing["apiVersion"], thing["kind"]), ref_of(thing))


def changed(thing: Tree, **data: str) -> Tree:
    return deepcopy(thing) | {"data": data}


# once -----------------------------------------------------------------------------------------------------------------


def test_everything_in_its_order_and_never_twice(lab: Lab) -> None:
    lines = deliver(lab, *TREE)
    assert lines == (
        "create Namespace web",
        "create CustomResourceDefinition lamps.example.org",
        "create ConfigMap web/settings",
        "create Lamp web/desk",
        "create Deployment web/server",
    )
    assert lab.writes() == [
        "apply/configmaps",
        "apply/namespaces",
        "apply/customresourcedefinitions.apiextensions.k8s.io",
        "apply/configmaps",
        "apply/lamps.example.org",
        "apply/deployments.apps",
    ]
    lab.forget()
    assert deliver(lab, *TREE) == ()
    assert lab.writes() == []


def test_only_what_differs_is_written(lab: Lab) -> None:
    deliver(lab, NAMESPACE, SETTINGS, SERVER)
    lab.forget()
    assert deliver(lab, NAMESPACE, changed(SETTINGS, color="red"), SERVER) == (
        "change ConfigMap web/settings: .data.color",
    )
    assert lab.writes() == ["apply/configmaps"]
    found = live(lab, SETTINGS)
    assert found is not None
    assert found["data"] == {"color": "red"}


def test_a_field_that_we_drop_goes(lab: Lab) -> None:
    deliver(lab, NAMESPACE, changed(SETTINGS, color="blue", size="big"))
    assert deliver(lab, NAMESPACE, SETTINGS) == ("change ConfigMap web/settings: .data.size",)
    found = live(lab, SETTINGS)
    assert found is not None
    assert found["data"] == {"color": "blue"}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.dictionaries(st.sampled_from("abcd"), st.dictionaries(st.sampled_from("xy"), st.sampled_from("12"))),
        min_size=1,
        max_size=4,
    )
)
def test_the_cluster_ends_up_with_what_was_declared_last(lab: Lab, steps: list[dict[str, dict[str, str]]]) -> None:
    """Whatever was declared before, in whichever order."""

    def declared(step: dict[str, dict[str, str]]) -> list[Tree]:
        return [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": "default"},
                "data": data,
            }
            for name, data in step.items()
        ]

    for step in steps:
        deliver(lab, *declared(step), part="model")
    resource = lab.api.require("v1", "ConfigMap")
    there = {one["metadata"]["name"]: one.get("data", {}) for one in lab.api.list(resource, "default")}
    assert {name: data for name, data in there.items() if name in "abcd"} == steps[-1]
    lab.forget()
    assert deliver(lab, *declared(steps[-1]), part="model") == ()
    assert lab.writes() == []


# removing -------------------------------------------------------------------------------------------------------------


def test_what_is_no_longer_declared_goes_and_what_holds_others_stays(lab: Lab) -> None:
    deliver(lab, *TREE)
    lines = deliver(lab, SETTINGS)
    assert set(lines) == {
        "remove Lamp web/desk",
        "remove Deployment web/server",
        "left as it is: Namespace web; remove it by hand if nothing in it is needed",
        "left as it is: CustomResourceDefinition lamps.example.org; remove it by hand if nothing in it is needed",
    }
    assert [live(lab, thing) is None for thing in (LAMP, SERVER, SETTINGS, NAMESPACE)] == [True, True, False, False]
    lab.forget()
    assert not plan_for(lab.api, "web", [SETTINGS]).changes
    deliver(lab, SETTINGS)
    assert lab.writes() == []


def test_parts_do_not_remove_what_is_another_parts(lab: Lab) -> None:
    deliver(lab, NAMESPACE, SETTINGS, part="one")
    deliver(lab, SERVER, part="two")
    assert deliver(lab, part="two") == ("remove Deployment web/server",)
    assert live(lab, SETTINGS) is not None


def test_what_became_somebody_elses_is_not_removed(lab: Lab) -> None:
    deliver(lab, NAMESPACE, SETTINGS)
    found = live(lab, SETTINGS)
    assert found is not None
    resource = lab.api.require("v1", "ConfigMap")
    lab.api.delete(resource, Ref("", "ConfigMap", "web", "settings"), found["metadata"]["uid"])
    lab.as_other(SETTINGS)
    assert deliver(lab, NAMESPACE) == ()
    assert live(lab, SETTINGS) is not None


# others ---------------------------------------------------------------------------------------------------------------


def test_another_managers_field_is_never_taken(lab: Lab) -> None:
    deliver(lab, NAMESPACE, SETTINGS)
    lab.as_other(changed(SETTINGS, color="green"), "kubectl", force=True)
    with pytest.raises(Conflict) as raised:
        plan_for(lab.api, "web", [NAMESPACE, SETTINGS])
    assert raised.value.what == "compare ConfigMap web/settings: kubectl manages the same fields"
    assert raised.value.why == "kubectl has set .data.color"
    found = live(lab, SETTINGS)
    assert found is not None
    assert found["data"] == {"color": "green"}


def test_other_fields_of_the_same_object_are_left_alone(lab: Lab) -> None:
    deliver(lab, NAMESPACE, SETTINGS)
    lab.as_other(changed(SETTINGS, theirs="kept"))
    assert deliver(lab, NAMESPACE, changed(SETTINGS, color="red")) == ("change ConfigMap web/settings: .data.color",)
    found = live(lab, SETTINGS)
    assert found is not None
    assert found["data"] == {"color": "red", "theirs": "kept"}


def test_what_stands_already_is_taken_over_once(lab: Lab) -> None:
    lab.as_other(NAMESPACE)
    lab.as_other(SETTINGS)
    assert deliver(lab, NAMESPACE, SETTINGS) == (
        "change Namespace web: .metadata.labels.ocifree/part",
        "change ConfigMap web/settings: .metadata.labels",
    )
    assert deliver(lab, NAMESPACE, SETTINGS) == ()


# secrets --------------------------------------------------------------------------------------------------------------


def test_a_secret_is_told_by_its_place_alone(lab: Lab) -> None:
    from pydantic import SecretStr

    said: list[str] = []
    for value in ("hunter1", "hunter2"):
        plan = plan_for(lab.api, "web", [NAMESPACE, secret("web", "door", {"key": SecretStr(value)})])
        said += plan.lines
        apply(lab.api, plan, said.append)
    assert "change Secret web/door: .data.key" in said
    assert not any("hunter" in line or "aHVudGVy" in line for line in said)


def test_a_refused_secret_is_not_quoted(lab: Lab) -> None:
    wrong = {**secret("default", "door", {}), "data": {"key": "not base64: hunter2"}}
    with pytest.raises(Refused) as raised:
        deliver(lab, wrong)
    assert "hunter2" not in str(raised.value)


class Hurried:
    """A clock on which waiting takes no time."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


# waiting --------------------------------------------------------------------------------------------------------------


def test_waiting_tells_what_it_waits_for(lab: Lab) -> None:
    deliver(lab, NAMESPACE, SERVER)
    resource = lab.api.require("apps/v1", "Deployment")
    said: list[str] = []
    states = iter([0, 1, 2])

    def get(_resource: object, ref: Ref) -> Object:
        found = deepcopy(dict((lab.api.pool and _real(resource, ref)) or {}))
        count = next(states)
        generation = found["metadata"]["generation"]
        found["status"] = {"observedGeneration": generation, "updatedReplicas": 2, "availableReplicas": count}
        return found

    _real = lab.api.get
    api = type("Half", (), {"get": staticmethod(get), "require": lab.api.require})()
    wait_until_ready(api, [SERVER], said.append)
    assert said == [
        "wait: Deployment web/server: 0 of 2 pods are available",
        "wait: Deployment web/server: 1 of 2 pods are available",
    ]


def test_the_controllers_words_are_in_the_error(lab: Lab) -> None:
    broken = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "no image"}

    class Half:
        require = staticmethod(lab.api.require)

        @staticmethod
        def get(_resource: object, _ref: Ref) -> Object:
            return {**SERVER, "status": {"conditions": [broken]}}

    with pytest.raises(NotVerified) as raised:
        wait_until_ready(Half(), [SERVER], ignore)  # type: ignore[arg-type]
    assert raised.value.why == "Deployment web/server: no image"


def test_what_never_comes_is_given_up(lab: Lab) -> None:
    with pytest.raises(NotVerified) as raised:
        wait_until_ready(lab.api, [SERVER], ignore, timeout=30, clock=Hurried())
    assert raised.value.what == "waited 30 s until Deployment web/server works, in vain"
    assert "it is not there" in raised.value.why


def test_a_server_that_fails_for_a_while_is_waited_for(lab: Lab) -> None:
    deliver(lab, NAMESPACE)
    lab.here.strike(operation="get/namespaces", times=3, status=503, code="ServiceUnavailable")
    wait_until_ready(lab.api, [NAMESPACE], ignore)


# death ----------------------------------------------------------------------------------------------------------------

BEFORE: tuple[Tree, ...] = (NAMESPACE, SETTINGS, SERVER)
AFTER: tuple[Tree, ...] = (NAMESPACE, DEFINITION, LAMP, changed(SETTINGS, color="red"))


def run(lab: Lab) -> None:
    apply(lab.api, plan_for(lab.api, "web", AFTER), ignore)


class Dead(BaseException):
    """The process is gone."""


def dies_at(patch: pytest.MonkeyPatch, victim: int, *, afterwards: bool) -> None:
    """The writing call of this number is the last one, made or not."""
    really, count = delivery.Api._call, 0

    def call(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        if method == "GET" or "dryRun" in (kwargs.get("query") or {}):
            return really(self, method, *args, **kwargs)
        count += 1
        if count == victim and not afterwards:
            raise Dead
        found = really(self, method, *args, **kwargs)
        if count == victim:
            raise Dead
        return found

    patch.setattr(delivery.Api, "_call", call)


@pytest.mark.parametrize("afterwards", [False, True])
def test_a_death_at_any_writing_call_is_mended_by_the_next_run(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, *, afterwards: bool
) -> None:
    """Dead before the call took place, or after it: the end is the same, and a third run has nothing to do."""
    victim, died = 0, True
    while died:
        victim += 1
        apply(lab.api, plan_for(lab.api, "web", BEFORE), ignore)
        with monkeypatch.context() as patch:
            dies_at(patch, victim, afterwards=afterwards)
            try:
                run(lab)
                died = False
            except Dead:
                pass
        run(lab)
        assert [live(lab, thing) is None for thing in (SERVER, SETTINGS, LAMP)] == [True, False, False], victim
        lab.forget()
        run(lab)
        assert lab.writes() == [], victim
    assert victim > 4, "inventory, the lamp, the settings, the server, inventory"
