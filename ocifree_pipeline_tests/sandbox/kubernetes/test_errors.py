"""What the API says when it refuses: code, reason and words, as real clients read them."""

from __future__ import annotations

from typing import Any

import pytest

from ocifree_pipeline_tests.sandbox.kubernetes.served import Served
from ocifree_pipeline_tests.sandbox.kubernetes.test_api import (
    APPLY,
    JSON_PATCH,
    MERGE,
    STRATEGIC,
    config_map,
    deployment,
    widgets,
)

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(scope="module", autouse=True)
def furniture(here: Served) -> None:
    here.ask("POST", CONFIG_MAPS, config_map("there", a="1"))
    here.ask("POST", DEPLOYMENTS, deployment("there"))
    here.ask("POST", DEFINITIONS, widgets())
    here.ask("POST", WIDGETS, widget("there", size=1))
    service = {"metadata": {"name": "there"}, "spec": {"ports": [{"port": 80}]}}
    here.ask("POST", "/api/v1/namespaces/default/services", service)


def widget(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}


def changed(body: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return body | {"metadata": body["metadata"] | metadata}


def container(**fields: Any) -> dict[str, Any]:
    body = deployment("new")
    body["spec"]["template"]["spec"]["containers"] = [{"name": "c", "image": "web:1"} | fields]
    return body


ROWS: list[tuple[str, str, str, Any, int, str, str]] = [
    # label, request, content type, body, code, reason, words
    ("gone", f"GET {CONFIG_MAPS}/none", "", None, 404, "NotFound", 'configmaps "none" not found'),
    ("gone group", f"GET {DEPLOYMENTS}/none", "", None, 404, "NotFound", 'deployments.apps "none" not found'),
    (
        "no namespace",
        "POST /api/v1/namespaces/none/configmaps",
        "",
        config_map("a", "none"),
        404,
        "NotFound",
        'namespaces "none" not found',
    ),
    (
        "twice",
        f"POST {CONFIG_MAPS}",
        "",
        config_map("there"),
        409,
        "AlreadyExists",
        'configmaps "there" already exists',
    ),
    (
        "old version",
        f"PUT {CONFIG_MAPS}/there",
        "",
        changed(config_map("there"), resourceVersion="1"),
        409,
        "Conflict",
        (
            'Operation cannot be fulfilled on configmaps "there": the object has been modified; please apply your '
            "changes to the latest version and try again"
        ),
    ),
    (
        "other object",
        f"DELETE {CONFIG_MAPS}/there",
        "",
        {"preconditions": {"uid": "other"}},
        409,
        "Conflict",
        "Precondition failed: uid in precondition: other",
    ),
    (
        "bad name",
        f"POST {CONFIG_MAPS}",
        "",
        config_map("Bad_Name"),
        422,
        "Invalid",
        'ConfigMap "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain',
    ),
    ("no name", f"POST {CONFIG_MAPS}", "", {"metadata": {}}, 422, "Invalid", "name or generateName is required"),
    (
        "bad label",
        f"POST {CONFIG_MAPS}",
        "",
        changed(config_map("a"), labels={"a": "b c"}),
        422,
        "Invalid",
        'metadata.labels: Invalid value: "b c"',
    ),
    (
        "other kind",
        f"POST {CONFIG_MAPS}",
        "",
        config_map("a") | {"apiVersion": "v2"},
        400,
        "BadRequest",
        "the API version in the data (v2) does not match the expected API version (v1)",
    ),
    (
        "other namespace",
        f"POST {CONFIG_MAPS}",
        "",
        config_map("a", "kube-system"),
        400,
        "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request",
    ),
    ("no JSON", f"POST {CONFIG_MAPS}", "", b"{", 400, "BadRequest", "the object provided is unrecognized"),
    ("other format", f"POST {CONFIG_MAPS}", "text/html", b"{}", 415, "UnsupportedMediaType", "text/html"),
    ("no format", f"PATCH {CONFIG_MAPS}/there", "", {}, 415, "UnsupportedMediaType", "application/json"),
    (
        "unknown field",
        f"POST {DEPLOYMENTS}?fieldValidation=Strict",
        "",
        deployment("new", replicaz=1),
        400,
        "BadRequest",
        (
            'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field '
            '"spec.replicaz"'
        ),
    ),
    (
        "deep unknown field",
        f"POST {DEPLOYMENTS}?fieldValidation=Strict",
        "",
        container(imag="x"),
        400,
        "BadRequest",
        'unknown field "spec.template.spec.containers[0].imag"',
    ),
    (
        "wrong type",
        f"POST {DEPLOYMENTS}",
        "",
        deployment("new", replicas="one"),
        400,
        "BadRequest",
        "json: cannot unmarshal string into Go struct field Deployment.spec.replicas of type integer",
    ),
    (
        "required",
        f"POST {DEPLOYMENTS}",
        "",
        deployment("new", selector=None),
        422,
        "Invalid",
        'Deployment.apps "new" is invalid: spec.selector: Required value',
    ),
    (
        "selector",
        f"POST {DEPLOYMENTS}",
        "",
        deployment("new", selector={"matchLabels": {"app": "other"}}),
        422,
        "Invalid",
        "`selector` does not match template `labels`",
    ),
    (
        "immutable",
        f"PATCH {DEPLOYMENTS}/there",
        MERGE,
        {
            "spec": {
                "selector": {"matchLabels": {"x": "y"}},
                "template": {"metadata": {"labels": {"x": "y"}}},
            }
        },
        422,
        "Invalid",
        "field is immutable",
    ),
    ("no image", f"POST {DEPLOYMENTS}", "", container(image=""), 422, "Invalid", "containers[0].image: Required value"),
    (
        "bad quantity",
        f"POST {DEPLOYMENTS}",
        "",
        container(resources={"requests": {"cpu": "much"}}),
        422,
        "Invalid",
        "spec.template.spec.containers[0].resources.requests[cpu]: Invalid value",
    ),
    (
        "bad port",
        f"POST {DEPLOYMENTS}",
        "",
        container(ports=[{"containerPort": 70000}]),
        422,
        "Invalid",
        "must be between 1 and 65535",
    ),
    (
        "no volume",
        f"POST {DEPLOYMENTS}",
        "",
        container(volumeMounts=[{"name": "v", "mountPath": "/v"}]),
        422,
        "Invalid",
        'volumeMounts[0].name: Not found: "v"',
    ),
    (
        "bad secret",
        "POST /api/v1/namespaces/default/secrets",
        "",
        {"metadata": {"name": "bad"}, "data": {"a": "not base64!"}},
        400,
        "BadRequest",
        "illegal base64 data",
    ),
    (
        "certificate",
        "POST /api/v1/namespaces/default/secrets",
        "",
        {"metadata": {"name": "bad"}, "type": "kubernetes.io/tls"},
        422,
        "Invalid",
        "data[tls.crt]: Required value",
    ),
    (
        "address",
        "PATCH /api/v1/namespaces/default/services/there",
        MERGE,
        {"spec": {"clusterIP": "10.96.0.77"}},
        422,
        "Invalid",
        "may not change once set",
    ),
    ("custom required", f"POST {WIDGETS}", "", widget("a"), 422, "Invalid", "spec.size: Required value"),
    (
        "custom type",
        f"POST {WIDGETS}",
        "",
        widget("a", size="big"),
        422,
        "Invalid",
        (
            'Widget.example.com "a" is invalid: spec.size: Invalid value: "big": spec.size in body must be of type '
            'integer: "string"'
        ),
    ),
    ("custom range", f"POST {WIDGETS}", "", widget("a", size=0), 422, "Invalid", "greater than or equal to 1"),
    (
        "custom choice",
        f"POST {WIDGETS}",
        "",
        widget("a", size=1, colour="green"),
        422,
        "Invalid",
        'spec.colour: Unsupported value: "green": supported values: "red", "blue"',
    ),
    (
        "custom unknown",
        f"POST {WIDGETS}?fieldValidation=Strict",
        "",
        widget("a", size=1, shape="x"),
        400,
        "BadRequest",
        'unknown field "spec.shape"',
    ),
    (
        "custom update",
        f"PUT {WIDGETS}/there",
        "",
        widget("there", size=2),
        422,
        "Invalid",
        "metadata.resourceVersion: Invalid value: 0: must be specified for an update",
    ),
    ("custom strategic", f"PATCH {WIDGETS}/there", STRATEGIC, {}, 415, "UnsupportedMediaType", STRATEGIC),
    (
        "definition",
        f"POST {DEFINITIONS}",
        "",
        changed(widgets("Gadget"), name="wrong.example.com"),
        422,
        "Invalid",
        'must be spec.names.plural+"."+spec.group',
    ),
    ("apply unowned", f"PATCH {CONFIG_MAPS}/there", APPLY, config_map("there"), 400, "BadRequest", "fieldManager"),
    (
        "apply unknown",
        f"PATCH {DEPLOYMENTS}/there?fieldManager=a&force=true",
        APPLY,
        deployment("there", replicaz=1),
        500,
        "",
        (
            "failed to create typed patch object (default/there; apps/v1, Kind=Deployment): .spec.replicaz: field not "
            "declared in schema"
        ),
    ),
    (
        "patch test",
        f"PATCH {CONFIG_MAPS}/there",
        JSON_PATCH,
        [{"op": "test", "path": "/data/a", "value": "9"}],
        422,
        "Invalid",
        "testing value /data/a failed",
    ),
    ("selector text", f"GET {CONFIG_MAPS}?labelSelector=a+b+c", "", None, 400, "BadRequest", "unable to parse"),
    ("selector field", f"GET {CONFIG_MAPS}?fieldSelector=spec.x%3D1", "", None, 400, "BadRequest", "not supported"),
    ("page", f"GET {CONFIG_MAPS}?continue=xx", "", None, 400, "BadRequest", "continue key is not valid"),
    ("method", f"POST {CONFIG_MAPS}/there", "", config_map("there"), 405, "MethodNotAllowed", "not allow this method"),
    ("not played", "POST /api/v1/nodes/none/proxy", "", {}, 404, "NotFound", 'nodes "none" not found'),
]


@pytest.mark.parametrize("row", [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_refusals(here: Served, row: tuple[str, str, Any, int, str, str]) -> None:
    asked, kind, body, code, reason, words = row
    method, path = asked.split(" ", 1)
    revision = here.inside(lambda cluster: cluster.store.revision)
    reply = here.ask(method, path, body, **({"content_type": kind} if kind else {}))
    found = reply.json()
    assert (reply.status_code, found["code"], found.get("reason", "")) == (code, code, reason), found["message"]
    assert (found["kind"], found["apiVersion"], found["status"]) == ("Status", "v1", "Failure")
    assert words in found["message"]
    assert here.inside(lambda cluster: cluster.store.revision) == revision, "a refusal changes nothing"


def test_every_problem_has_its_field(here: Served) -> None:
    body = container(image="", ports=[{"containerPort": 0}])
    causes = here.ask("POST", DEPLOYMENTS, body).json()["details"]["causes"]
    assert {one["field"] for one in causes} == {
        "spec.template.spec.containers[0].image",
        "spec.template.spec.containers[0].ports[0].containerPort",
    }
    assert {one["reason"] for one in causes} == {"FieldValueRequired", "FieldValueInvalid"}


def test_without_strictness_unknown_fields_are_dropped_with_a_warning(here: Served) -> None:
    reply = here.ask("POST", f"{WIDGETS}?dryRun=All", widget("warned", size=1, shape="round", open={"any": 1}))
    assert reply.status_code == 201
    assert reply.headers["warning"] == '299 - "unknown field \\"spec.shape\\""'
    assert reply.json()["spec"] == {"size": 1, "colour": "red", "open": {"any": 1}}
    reply = here.ask("POST", f"{WIDGETS}?dryRun=All&fieldValidation=Ignore", widget("warned", size=1, shape="round"))
    assert "warning" not in reply.headers


@pytest.mark.parametrize("path", ["/apis/none.example.com/v1/things", "/api/v1/things", "/nothing"])
def test_what_is_no_path_of_the_api(here: Served, path: str) -> None:
    reply = here.ask("GET", path)
    assert (reply.status_code, reply.text) == (404, "404 page not found\n")


def test_what_is_not_played_says_so(here: Served) -> None:
    pod = {"metadata": {"name": "silent"}, "spec": {"containers": [{"name": "c", "image": "web:1"}]}}
    here.ask("POST", "/api/v1/namespaces/default/pods", pod)
    reply = here.ask("POST", "/api/v1/namespaces/default/pods/silent/exec", {})
    assert reply.status_code == 501
    assert reply.json()["message"] == "the sandbox does not play pods/exec"


def test_a_kind_of_kubernetes_own_groups_shows_its_approval(here: Served) -> None:
    body = widgets("Gadget")
    body["metadata"]["name"], body["spec"]["group"] = "gadgets.more.k8s.io", "more.k8s.io"
    refused = here.ask("POST", DEFINITIONS, body)
    assert refused.status_code == 422
    assert "protected groups must have approval annotation" in refused.json()["message"]
    body["metadata"]["annotations"] = {"api-approved.kubernetes.io": "https://example.com/review"}
    assert here.ask("POST", DEFINITIONS, body).status_code == 201
