"""The official client, unmodified, against the API of a cluster in the sandbox."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from kubernetes import client as k8s
from kubernetes import watch

from ocifree_pipeline_tests.sandbox.kubernetes.served import Served

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


def deployment(name: str, **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "web:1"}]}},
        }
        | spec,
    }


def config_map(name: str, namespace: str = "default", **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def widgets(kind: str = "Widget", **schema: Any) -> dict[str, Any]:
    plural = f"{kind.lower()}s"
    spec = {
        "type": "object",
        "required": ["size"],
        "properties": {
            "size": {"type": "integer", "minimum": 1},
            "colour": {"type": "string", "default": "red", "enum": ["red", "blue"]},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    body = {"type": "object", "properties": {"spec": spec, "status": {"type": "object", **schema}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": body}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [version | {"subresources": {"status": {}}}],
        },
    }


# discovery ------------------------------------------------------------------------------------------------------------


def test_discovery_in_both_forms_tells_the_same(here: Served) -> None:
    plain = {
        (group["preferredVersion"]["groupVersion"], one["name"])
        for group in here.ask("GET", "/apis").json()["groups"]
        for one in here.ask("GET", f"/apis/{group['preferredVersion']['groupVersion']}").json()["resources"]
        if "/" not in one["name"]
    }
    accept = {"accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"}
    reply = here.ask("GET", "/apis", headers=accept)
    assert reply.headers["content-type"].endswith("as=APIGroupDiscoveryList")
    aggregated = {
        (f"{group['metadata']['name']}/{version['version']}", one["resource"])
        for group in reply.json()["items"]
        for version in group["versions"]
        for one in version["resources"]
    }
    assert plain == aggregated
    assert ("apps/v1", "deployments") in plain


def test_version_and_health_are_open_to_everybody(here: Served) -> None:
    assert k8s.VersionApi(here.client(None)).get_code().git_version == "v1.36.3"
    for path in ("/healthz", "/livez", "/readyz", "/readyz/etcd"):
        assert here.ask("GET", path).text == "ok"


def test_the_dynamic_client_finds_what_a_definition_adds(here: Served) -> None:
    here.dynamic.resources.get(api_version="v1", kind="Pod")
    assert here.ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", widgets("Found")).ok
    here.dynamic.resources.invalidate_cache()
    found = here.dynamic.resources.get(api_version="example.com/v1", kind="Found")
    body = {"apiVersion": "example.com/v1", "kind": "Found", "metadata": {"name": "one"}, "spec": {"size": 2}}
    created = here.dynamic.create(found, body=body, namespace="default")
    assert created.spec.colour == "red", "the default of the schema"
    here.ask("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/founds.example.com")
    assert here.ask("GET", "/apis/example.com/v1/namespaces/default/founds").status_code == 404


# objects --------------------------------------------------------------------------------------------------------------


def test_an_object_from_birth_to_death(here: Served) -> None:
    body = k8s.V1ConfigMap(metadata=k8s.V1ObjectMeta(generate_name="life-", labels={"a": "b"}), data={"x": "1"})
    created = here.core.create_namespaced_config_map("default", body)
    name = created.metadata.name
    assert name.startswith("life-")
    assert len(name) == len("life-") + 5
    assert created.metadata.uid
    created.data["x"] = "2"
    replaced = here.core.replace_namespaced_config_map(name, "default", created)
    assert int(replaced.metadata.resource_version) > int(created.metadata.resource_version)
    with pytest.raises(k8s.ApiException, match="the object has been modified") as raised:
        here.core.replace_namespaced_config_map(name, "default", created)
    assert raised.value.status == 409
    same = here.core.replace_namespaced_config_map(name, "default", replaced)
    assert same.metadata.resource_version == replaced.metadata.resource_version, "nothing has changed"
    status = here.ask("DELETE", f"/api/v1/namespaces/default/configmaps/{name}").json()
    assert (status["kind"], status["status"], status["details"]["name"]) == ("Status", "Success", name)


def test_lists_are_selected_and_paged(here: Served) -> None:
    namespace = "pages"
    here.core.create_namespace(k8s.V1Namespace(metadata=k8s.V1ObjectMeta(name=namespace)))
    for number in range(7):
        labels = {"parity": "odd" if number % 2 else "even", "number": str(number)}
        metadata = k8s.V1ObjectMeta(name=f"n{number}", labels=labels)
        here.core.create_namespaced_config_map(namespace, k8s.V1ConfigMap(metadata=metadata))

    def names(**query: Any) -> list[str]:
        found = here.core.list_namespaced_config_map(namespace, **query)
        return [one.metadata.name for one in found.items if one.metadata.name != "kube-root-ca.crt"]

    assert names(label_selector="parity=odd") == ["n1", "n3", "n5"]
    assert names(label_selector="parity in (even),number notin (0, 2)") == ["n4", "n6"]
    assert names(label_selector="parity,number!=1") == ["n0", "n2", "n3", "n4", "n5", "n6"]
    assert names(label_selector="!parity") == []
    assert names(field_selector="metadata.name=n3") == ["n3"]
    seen, token, pages = [], None, 0
    while token != "":
        page = here.core.list_namespaced_config_map(namespace, limit=3, _continue=token)
        seen += [one.metadata.name for one in page.items]
        token, pages = page.metadata._continue or "", pages + 1
    assert pages == 3
    assert sorted(seen) == sorted({"kube-root-ca.crt", *(f"n{number}" for number in range(7))})


def test_built_in_items_of_a_list_do_not_say_what_they_are(here: Served) -> None:
    found = here.ask("GET", "/api/v1/namespaces").json()
    assert found["kind"] == "NamespaceList"
    assert not any("kind" in one for one in found["items"])


def test_status_and_generation_have_their_own_doors(here: Served) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    created = here.ask("POST", path, deployment("doors") | {"status": {"replicas": 9}}).json()
    assert created["metadata"]["generation"] == 1
    assert created.get("status", {}).get("replicas") != 9
    after = here.ask("PATCH", f"{path}/doors/status", {"spec": {"replicas": 5}}, content_type=MERGE).json()
    assert after["spec"]["replicas"] == 1
    after = here.ask("PATCH", f"{path}/doors", {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE).json()
    assert after["metadata"]["generation"] == 1
    after = here.ask("PATCH", f"{path}/doors", {"spec": {"paused": True}}, content_type=MERGE).json()
    assert after["metadata"]["generation"] == 2


def test_scale(here: Served) -> None:
    apps = k8s.AppsV1Api(here.admin)
    apps.create_namespaced_deployment("default", deployment("scaled"))
    body = {"spec": {"replicas": 3}}
    assert apps.patch_namespaced_deployment_scale("scaled", "default", body).spec.replicas == 3
    scale = apps.read_namespaced_deployment_scale("scaled", "default")
    assert (scale.spec.replicas, scale.status.selector) == (3, "app=scaled")
    assert apps.read_namespaced_deployment("scaled", "default").spec.replicas == 3


@pytest.mark.parametrize(
    ("content_type", "patch", "expected"),
    [
        (MERGE, {"data": {"a": None, "c": "3"}}, {"b": "2", "c": "3"}),
        (STRATEGIC, {"data": {"b": "4"}}, {"a": "1", "b": "4"}),
        (JSON_PATCH, [{"op": "remove", "path": "/data/a"}], {"b": "2"}),
        (
            JSON_PATCH,
            [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "move", "from": "/data/a", "path": "/data/z"}],
            {"b": "2", "z": "1"},
        ),
    ],
)
def test_patches(here: Served, content_type: str, patch: Any, expected: dict[str, str]) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    here.ask("DELETE", f"{path}/patched")
    assert here.ask("POST", path, config_map("patched", a="1", b="2")).status_code == 201
    assert here.ask("PATCH", f"{path}/patched", patch, content_type=content_type).json()["data"] == expected


def test_a_strategic_patch_finds_entries_by_their_keys(here: Served) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    here.ask("POST", path, deployment("strategic"))
    containers = [{"name": "c", "image": "web:2"}, {"name": "side", "image": "side:1"}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    found = here.ask("PATCH", f"{path}/strategic", patch, content_type=STRATEGIC).json()
    assert [one["image"] for one in found["spec"]["template"]["spec"]["containers"]] == ["web:2", "side:1"]
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "side", "$patch": "delete"}]}}}}
    found = here.ask("PATCH", f"{path}/strategic", patch, content_type=STRATEGIC).json()
    assert [one["name"] for one in found["spec"]["template"]["spec"]["containers"]] == ["c"]


# server-side apply ----------------------------------------------------------------------------------------------------


def apply(here: Served, body: dict[str, Any], manager: str, **options: Any) -> Any:
    found = here.dynamic.resources.get(api_version=body["apiVersion"], kind=body["kind"])
    metadata = body["metadata"]
    return here.dynamic.server_side_apply(
        found, body=body, name=metadata["name"], namespace=metadata["namespace"], field_manager=manager, **options
    )


def test_apply_creates_owns_conflicts_and_gives_up(here: Served) -> None:
    created = apply(here, deployment("applied", replicas=1), "ann")
    entry = created.metadata.managedFields[0]
    assert (entry.manager, entry.operation) == ("ann", "Apply")
    with pytest.raises(k8s.ApiException) as raised:
        apply(here, deployment("applied", replicas=2), "bob")
    assert raised.value.status == 409
    assert 'Apply failed with 1 conflict: conflict with \\"ann\\": .spec.replicas' in raised.value.body
    apply(here, deployment("applied", replicas=2), "bob", force_conflicts=True)
    with pytest.raises(k8s.ApiException, match=r"conflict with .{1,2}bob"):
        apply(here, deployment("applied", replicas=1), "ann")
    body = deployment("applied", replicas=2)
    body["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "1"}]
    apply(here, body, "bob")
    del body["spec"]["template"]["spec"]["containers"][0]["env"]
    final = apply(here, body, "bob").to_dict()
    assert "env" not in final["spec"]["template"]["spec"]["containers"][0]
    assert final["spec"]["template"]["spec"]["containers"][0]["image"] == "web:1", "ann wants it still"


def test_a_second_apply_writes_nothing_and_a_rehearsal_neither(here: Served) -> None:
    body = config_map("twice", a="1")
    first = apply(here, body, "ann")
    assert apply(here, body, "ann").metadata.resourceVersion == first.metadata.resourceVersion
    rehearsed = apply(here, config_map("twice", a="2"), "ann", dry_run="All")
    assert rehearsed.data.a == "2"
    assert here.core.read_namespaced_config_map("twice", "default").data == {"a": "1"}
    apply(here, config_map("never", a="2"), "ann", dry_run="All")
    assert here.ask("GET", "/api/v1/namespaces/default/configmaps/never").status_code == 404


def test_who_updates_owns_what_changed(here: Served) -> None:
    apply(here, config_map("shared", a="1", b="1"), "ann")
    path = "/api/v1/namespaces/default/configmaps/shared"
    here.ask("PATCH", f"{path}?fieldManager=hand", {"data": {"b": "2"}}, content_type=MERGE)
    with pytest.raises(k8s.ApiException, match=r"conflict with .{1,2}hand.{1,2} using v1 at "):
        apply(here, config_map("shared", a="1", b="1"), "ann")
    apply(here, config_map("shared", a="1"), "ann")
    assert here.core.read_namespaced_config_map("shared", "default").data == {"a": "1", "b": "2"}


# watches --------------------------------------------------------------------------------------------------------------


def test_a_watch_tells_what_happens_to_whom_it_selects(here: Served) -> None:
    listed = here.core.list_namespaced_config_map("default")
    path = "/api/v1/namespaces/default/configmaps"
    here.ask("POST", path, config_map("seen") | {"metadata": {"name": "seen", "labels": {"watch": "me"}}})
    here.ask("POST", path, config_map("unseen"))
    here.ask("PATCH", f"{path}/seen", {"data": {"a": "1"}}, content_type=MERGE)
    here.ask("PATCH", f"{path}/seen", {"metadata": {"labels": {"watch": None}}}, content_type=MERGE)
    stream = watch.Watch().stream(
        here.core.list_namespaced_config_map,
        "default",
        resource_version=listed.metadata.resource_version,
        label_selector="watch=me",
        timeout_seconds=1,
    )
    found = [(event["type"], event["object"].metadata.name) for event in stream]
    assert found == [("ADDED", "seen"), ("MODIFIED", "seen"), ("DELETED", "seen")]


def test_a_watch_hears_of_what_comes_later(here: Served) -> None:
    stream = watch.Watch().stream(here.core.list_namespace, timeout_seconds=10)
    names = []
    for event in stream:
        names.append(event["object"].metadata.name)
        if len(names) == 1:
            here.core.create_namespace(k8s.V1Namespace(metadata=k8s.V1ObjectMeta(name="late")))
        if event["object"].metadata.name == "late":
            break
    assert "default" in names


def test_initial_events_end_with_a_bookmark(here: Served) -> None:
    query = "watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    lines = here.ask("GET", f"/api/v1/namespaces?{query}&timeoutSeconds=1").text.splitlines()
    events = [json.loads(one) for one in lines]
    ends = [
        one["object"]["metadata"].get("annotations", {}).get("k8s.io/initial-events-end") == "true" for one in events
    ]
    assert ends.count(True) == 1
    assert {one["type"] for one in events[: ends.index(True)]} == {"ADDED"}
    assert events[-1]["type"] == "BOOKMARK"


def test_a_watch_from_before_a_compaction_has_to_begin_anew(here: Served) -> None:
    version = here.core.list_namespace().metadata.resource_version
    here.core.create_namespace(k8s.V1Namespace(metadata=k8s.V1ObjectMeta(name="compacted")))
    here.inside(lambda cluster: cluster.store.compact())
    with pytest.raises(k8s.ApiException, match="too old resource version") as raised:
        list(watch.Watch().stream(here.core.list_namespace, resource_version=version, timeout_seconds=1))
    assert raised.value.status == 410


# what goes with what --------------------------------------------------------------------------------------------------


def test_finalizers_hold_an_object(here: Served) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    body = config_map("held")
    body["metadata"]["finalizers"] = ["example.com/hold"]
    here.ask("POST", path, body)
    assert here.ask("DELETE", f"{path}/held").json()["metadata"]["deletionTimestamp"]
    assert here.ask("GET", f"{path}/held").ok
    here.ask("PATCH", f"{path}/held", {"metadata": {"finalizers": None}}, content_type=MERGE)
    assert here.ask("GET", f"{path}/held").status_code == 404


@pytest.mark.parametrize(("policy", "left"), [("Background", 404), ("Foreground", 404), ("Orphan", 200)])
def test_owners_take_their_dependents_along(here: Served, policy: str, left: int) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    here.ask("DELETE", f"{path}/child")
    owner = here.ask("POST", path, config_map("owner")).json()
    child = config_map("child")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    child["metadata"]["ownerReferences"] = [reference]
    here.ask("POST", path, child)
    here.ask("DELETE", f"{path}/owner", {"propagationPolicy": policy})
    assert here.ask("GET", f"{path}/owner").status_code == 404
    assert here.ask("GET", f"{path}/child").status_code == left


def test_a_namespace_takes_its_content_along(here: Served) -> None:
    here.core.create_namespace(k8s.V1Namespace(metadata=k8s.V1ObjectMeta(name="short")))
    body = config_map("held", "short")
    body["metadata"]["finalizers"] = ["example.com/hold"]
    here.ask("POST", "/api/v1/namespaces/short/configmaps", body)
    assert here.core.read_namespaced_service_account("default", "short")
    here.core.delete_namespace("short")
    assert here.core.read_namespace("short").status.phase == "Terminating"
    with pytest.raises(k8s.ApiException, match="because it is being terminated"):
        here.core.create_namespaced_config_map("short", config_map("new", "short"))
    patch = {"metadata": {"finalizers": None}}
    here.ask("PATCH", "/api/v1/namespaces/short/configmaps/held", patch, content_type=MERGE)
    assert here.ask("GET", "/api/v1/namespaces/short").status_code == 404


# kinds with rules of their own ----------------------------------------------------------------------------------------


def test_services_get_addresses_that_nobody_else_has(here: Served) -> None:
    found = set()
    for number in range(5):
        spec = {"ports": [{"port": 80}], "type": "NodePort"}
        body = {"metadata": {"name": f"s{number}"}, "spec": spec}
        created = here.core.create_namespaced_service("default", body)
        found.add((created.spec.cluster_ip, created.spec.ports[0].node_port))
    assert len({ip for ip, _ in found}) == len({port for _, port in found}) == 5
    assert all(ip.startswith(("10.9", "10.1")) for ip, _ in found)
    assert here.core.read_namespaced_service("kubernetes", "default").spec.cluster_ip == "10.96.0.1"


def test_secrets_keep_what_is_given_in_plain(here: Served) -> None:
    body = {"metadata": {"name": "plain"}, "stringData": {"a": "word"}}
    created = here.core.create_namespaced_secret("default", body)
    assert created.type == "Opaque"
    assert base64.b64decode(created.data["a"]) == b"word"
    assert created.string_data is None


# who may --------------------------------------------------------------------------------------------------------------


def test_rights_come_from_bindings(here: Served) -> None:
    bob = k8s.CoreV1Api(here.client("bob", ("developers",)))
    with pytest.raises(k8s.ApiException, match='User \\\\"bob\\\\" cannot list resource \\\\"configmaps\\\\"'):
        bob.list_namespaced_config_map("default")
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]
    here.ask("POST", f"{rbac}/roles", {"metadata": {"name": "reader"}, "rules": rules})
    body = {
        "metadata": {"name": "developers"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "Group", "name": "developers", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    assert here.ask("POST", f"{rbac}/rolebindings", body).status_code == 201
    assert bob.list_namespaced_config_map("default").items
    with pytest.raises(k8s.ApiException, match="cannot create resource"):
        bob.create_namespaced_config_map("default", config_map("no"))
    with pytest.raises(k8s.ApiException, match="at the cluster scope"):
        bob.list_config_map_for_all_namespaces()


def test_tokens_speak_for_accounts_until_they_end(here: Served) -> None:
    body = {"metadata": {"name": "robot"}}
    here.core.create_namespaced_service_account("default", body)
    request = k8s.AuthenticationV1TokenRequest(spec=k8s.V1TokenRequestSpec(audiences=[], expiration_seconds=600))
    token = here.core.create_namespaced_service_account_token("robot", "default", request).status.token
    robot = here.client(token=token)
    who = k8s.AuthenticationV1Api(robot).create_self_subject_review({}).status.user_info
    assert who.username == "system:serviceaccount:default:robot"
    assert "system:serviceaccounts" in who.groups
    with pytest.raises(k8s.ApiException) as raised:
        k8s.CoreV1Api(here.client(token=token[:-4] + "AAAA")).list_namespace()
    assert raised.value.status == 401
    here.core.delete_namespaced_service_account("robot", "default")
    with pytest.raises(k8s.ApiException) as raised:
        k8s.CoreV1Api(robot).list_namespace()
    assert raised.value.status == 401


def test_a_token_that_the_cluster_was_told_to_trust(here: Served) -> None:
    here.inside(lambda cluster: cluster.trust_token("friend", "ann", ["system:masters"]))
    assert k8s.CoreV1Api(here.client(token="friend")).list_node().items == []
    assert "friend" not in json.dumps(here.world.facts)
