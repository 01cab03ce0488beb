"""Alert rules over virtual minutes, and the folders and dashboards of the stack's Grafana."""

from __future__ import annotations

from typing import Any

import pytest

from ocifree_pipeline.sandbox import outbox
from ocifree_pipeline.sandbox.grafana import boards, stack
from ocifree_pipeline_tests.sandbox.grafana.conftest import Stack

GROUP = "/api/v1/provisioning/folder/f/rule-groups/nodes"


def rule(expr: str, wait: str = "2m", uid: str = "down", source: str = "grafanacloud-prom") -> dict[str, Any]:
    """As a Prometheus rule is written for Grafana."""
    return {
        "uid": uid,
        "title": uid,
        "condition": "C",
        "for": wait,
        "labels": {"severity": "critical"},
        "annotations": {"summary": "{{ $labels.node }} is {{ $values.A }}: {{ $value }}"},
        "data": [
            {"refId": "A", "datasourceUid": source, "model": {"expr": expr, "instant": True}},
            {
                "refId": "B",
                "datasourceUid": "__expr__",
                "model": {"type": "math", "expression": "is_number($A) || is_nan($A) || is_inf($A)"},
            },
            {
                "refId": "C",
                "datasourceUid": "__expr__",
                "model": {
                    "type": "threshold",
                    "expression": "B",
                    "conditions": [{"evaluator": {"type": "gt", "params": [0]}}],
                },
            },
        ],
    }


@pytest.fixture
def alerts(cloud: Stack) -> Stack:
    assert cloud.grafana("POST", "/api/folders", json={"uid": "f", "title": "ocifree"}).status_code == 200
    point = {"name": "people", "type": "email", "settings": {"addresses": "you@example.org"}}
    assert cloud.grafana("POST", "/api/v1/provisioning/contact-points", json=point).status_code == 202
    policy = {"receiver": "people", "group_by": ["alertname"]}
    assert cloud.grafana("PUT", "/api/v1/provisioning/policies", json=policy).status_code == 202
    return cloud


def put(cloud: Stack, *rules: dict[str, Any]) -> int:
    reply = cloud.grafana("PUT", GROUP, json={"title": "nodes", "folderUid": "f", "interval": 60, "rules": list(rules)})
    return reply.status_code


def minute(cloud: Stack, **up: float) -> str:
    """One minute passes; then the state of the first rule."""
    cloud.push(*(({"__name__": "up", "node": node}, value) for node, value in up.items()))
    cloud.sandbox.advance(60)
    (group,) = cloud.grafana("GET", "/api/prometheus/grafana/api/v1/rules").json()["data"]["groups"]
    return str(group["rules"][0]["state"])


def mails(cloud: Stack) -> list[str]:
    return [one["subject"] for one in cloud.sandbox.inside(outbox.messages)]


def test_an_alert_is_pending_fires_names_its_node_and_resolves(alerts: Stack):
    assert put(alerts, rule("up == 0")) == 200
    assert minute(alerts, a=1, b=1) == "inactive"
    assert [minute(alerts, a=1, b=0) for _ in range(3)] == ["pending", "pending", "firing"]
    (mail,) = alerts.sandbox.inside(outbox.messages)
    assert (mail["subject"], mail["to"]) == ("[FIRING:1] down (b)", ["you@example.org"])
    assert "summary: b is 0: [ var='query' labels={alertname=down, node=b, severity=critical} value=0 ]" in mail["text"]
    assert minute(alerts, a=1, b=1) == "inactive"
    assert mails(alerts) == ["[FIRING:1] down (b)", "[RESOLVED:1] down (b)"]


def test_data_that_stays_away_is_an_alert_of_its_own(alerts: Stack):
    assert put(alerts, rule('absent(up{node="a"})', wait="0s")) == 200
    assert minute(alerts, a=1) == "inactive"
    assert [minute(alerts) for _ in range(5)][-1] == "firing"


def test_usage_can_be_alerted_on(alerts: Stack):
    put(alerts, rule("grafanacloud_instance_active_series > 1", wait="0s", source="grafanacloud-usage"))
    assert minute(alerts, a=1) == "inactive"
    assert minute(alerts, a=1, b=1) == "firing"


def test_a_rule_that_cannot_be_computed_is_unwell_and_stops_nobody(alerts: Stack):
    put(alerts, rule("up == 0", wait="0s"), rule("histogram_quantile(0.9, up)", uid="odd"))
    assert minute(alerts, a=0) == "firing"
    (group,) = alerts.grafana("GET", "/api/prometheus/grafana/api/v1/rules").json()["data"]["groups"]
    assert [one["health"] for one in group["rules"]] == ["ok", "error"]
    assert "does not play" in group["rules"][1]["lastError"]


def test_a_month_at_once_is_not_played_minute_by_minute(alerts: Stack):
    put(alerts, rule("absent(up)", wait="0s"))
    alerts.sandbox.advance(30 * 86400)
    assert mails(alerts) == ["[FIRING:1] down ()"]
    (step,) = alerts.sandbox.inside(lambda world: [one for one in world.clock.pending() if "grafana" in one.transition])
    assert (step.due - alerts.sandbox.inside(lambda world: world.clock.now())).total_seconds() <= 60


def test_rules_are_bounded_and_checked(alerts: Stack):
    alerts.sandbox.inside(lambda world: stack.change(world, limits={"alert_rules": 2}))
    assert put(alerts, *(rule("up == 0", uid=f"r{n}") for n in range(3))) == 403
    assert put(alerts, {**rule("up == 0"), "condition": "Z"}) == 400
    assert put(alerts, rule("up == 0"), rule("up == 0")) == 409
    assert alerts.grafana("PUT", GROUP.replace("/f/", "/none/"), json={"rules": []}).status_code == 404
    unknown = {"receiver": "nobody"}
    assert alerts.grafana("PUT", "/api/v1/provisioning/policies", json=unknown).status_code == 400


def test_both_apis_show_the_same_dashboards(cloud: Stack):
    cloud.grafana("POST", "/api/folders", json={"uid": "f", "title": "ocifree"})
    namespace = cloud.grafana("GET", "/api/frontend/settings").json()["namespace"]
    new = f"/apis/dashboard.grafana.app/v1beta1/namespaces/{namespace}/dashboards"
    body = {
        "metadata": {"name": "nodes", "annotations": {"grafana.app/folder": "f"}},
        "spec": {"title": "Nodes", "panels": []},
    }
    assert cloud.grafana("POST", new, json=body).status_code == 201
    assert cloud.grafana("POST", new, json=body).status_code == 409
    old = cloud.grafana("GET", "/api/dashboards/uid/nodes").json()
    assert (old["dashboard"]["title"], old["meta"]["folderUid"], old["meta"]["version"]) == ("Nodes", "f", 1)
    stale = {"dashboard": {**old["dashboard"], "version": 0}, "folderUid": "f"}
    assert cloud.grafana("POST", "/api/dashboards/db", json=stale).status_code == 412
    assert cloud.grafana("POST", "/api/dashboards/db", json={**stale, "overwrite": True}).json()["version"] == 2
    conflict = {**body, "metadata": {**body["metadata"], "resourceVersion": "1"}}
    assert cloud.grafana("PUT", f"{new}/nodes", json=conflict).status_code == 409
    cloud.sandbox.inside(lambda world: boards.edit_as_person(world, "nodes", title="Mine"))
    seen = cloud.grafana("GET", f"{new}/nodes").json()
    assert seen["metadata"]["annotations"]["grafana.app/updatedBy"] == "user:you@example.org"
    assert seen["spec"]["title"] == "Mine"
    assert cloud.grafana("GET", "/api/search", params={"folderUIDs": "f"}).json()[0]["title"] == "Mine"


def test_a_viewer_may_look_and_not_change(cloud: Stack):
    token = cloud.sandbox.inside(lambda world: stack.make_token(world, stack.Token("service account", role="Viewer")))
    headers = {"authorization": f"Bearer {token}"}
    assert cloud.grafana("GET", "/api/folders", headers=headers).status_code == 200
    assert cloud.grafana("POST", "/api/folders", headers=headers, json={"title": "x"}).status_code == 403


def test_another_stack_and_another_call_are_not_there(cloud: Stack):
    assert cloud.ask("GET", "https://other.grafana.net/api/folders").status_code == 404
    assert cloud.grafana("GET", "/api/annotations").status_code == 404
