"""Alert rules, the contact point and the way to it, through Grafana's provisioning API.

A rule group is written whole, so what is no longer declared disappears with it. What other people have made is left
alone: other groups, other contact points, and of the notification policy everything but our own route.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.errors import LimitReached, NotVerified
from ocifree_pipeline.deployment.telemetry.alerts import MOST_RULES, expression, rules_for
from ocifree_pipeline.deployment.telemetry.alerts.model import Alert
from ocifree_pipeline.systems.grafana.http import Door

INTERVAL = 60
EXPRESSION = "__expr__"
POINTS = "/api/v1/provisioning/contact-points"
POLICIES = "/api/v1/provisioning/policies"
SOURCES = {"metrics": "grafanacloud-prom", "usage": "grafanacloud-usage"}
_OURS = ("uid", "title", "condition", "data", "for", "labels", "annotations", "noDataState", "execErrState")


@dataclass(frozen=True, slots=True)
class Group:
    """A rule group as Grafana takes it."""

    name: str
    folder: str
    rules: tuple[Mapping[str, Any], ...]

    @property
    def path(self) -> str:
        from urllib.parse import quote

        return f"/api/v1/provisioning/folder/{self.folder}/rule-groups/{quote(self.name)}"

    def body(self) -> dict[str, Any]:
        return {"title": self.name, "folderUid": self.folder, "interval": INTERVAL, "rules": list(self.rules)}


def groups_for(blueprint: Blueprint, folder: str) -> tuple[Group, ...]:
    rules = rules_for(blueprint)
    if len(rules) > MOST_RULES:
        raise LimitReached(
            f"{len(rules)} alert rules",
            why=f"the free plan takes {MOST_RULES}",
            fix="this is a fault of ocifree; please report it",
        )
    names = dict.fromkeys(rule.group for rule in rules)
    return tuple(
        Group(name, folder, tuple(_rule(rule, blueprint, folder) for rule in rules if rule.group == name))
        for name in names
    )


def _rule(alert: Alert, blueprint: Blueprint, folder: str) -> dict[str, Any]:
    """A Prometheus rule in Grafana's form: every series that the query returns is an alert."""
    name = blueprint.declaration.name
    math = "is_number($query) || is_nan($query) || is_inf($query)"
    return {
        "uid": hashlib.sha256(f"{name}/{alert.name}".encode()).hexdigest()[:20],
        "title": alert.name,
        "ruleGroup": alert.group,
        "folderUID": folder,
        "condition": "threshold",
        "for": alert.wait,
        "noDataState": "OK",
        "execErrState": "Error",
        "labels": {"severity": alert.severity, "deployment": name},
        # What is $value to Prometheus is words about the condition to Grafana; the number has the name of its query.
        "annotations": {key: text.replace("$value", "$values.query") for key, text in alert.annotations().items()},
        "data": [
            {
                "refId": "query",
                "datasourceUid": SOURCES[alert.source],
                "relativeTimeRange": {"from": 600, "to": 0},
                "model": {"refId": "query", "expr": expression(alert, blueprint), "instant": True, "range": False},
            },
            _node("math", {"type": "math", "expression": math}),
            _node(
                "threshold",
                {
                    "type": "threshold",
                    "expression": "math",
                    "conditions": [{"evaluator": {"type": "gt", "params": [0]}}],
                },
            ),
        ],
    }


def _node(ident: str, model: dict[str, Any]) -> dict[str, Any]:
    return {
        "refId": ident,
        "datasourceUid": EXPRESSION,
        "relativeTimeRange": {"from": 0, "to": 0},
        "model": {"refId": ident, "datasource": {"type": EXPRESSION, "uid": EXPRESSION}, **model},
    }


def planned_groups(grafana: Door, groups: Sequence[Group]) -> list[Group]:
    """Those that are missing or differ. Grafana adds fields of its own; only ours are compared."""
    return [group for group in groups if _kept(grafana, group) != _compared(group.rules)]


def apply_group(grafana: Door, group: Group) -> None:
    # Without this header Grafana lets nobody change the rules in the browser, not even to silence one for a day.
    headers = {"X-Disable-Provenance": "true"}
    grafana.call("PUT", group.path, f"write the rules `{group.name}`", body=group.body(), headers=headers)
    if _kept(grafana, group) != _compared(group.rules):
        raise NotVerified(
            f"the rules `{group.name}` were written, and reading them back disagrees",
            why="Grafana keeps other rules than were sent",
            fix="look at the folder in Grafana; ocifree up --select 'monitoring/alert_rules' tries again",
        )


def remove_group(grafana: Door, folder: str, name: str) -> None:
    grafana.call("DELETE", Group(name, folder, ()).path, f"remove the rules `{name}`", absent=True)


def _kept(grafana: Door, group: Group) -> list[dict[str, Any]] | None:
    found = grafana.call("GET", group.path, f"read the rules `{group.name}`", absent=True)
    return None if found is None else _compared(found.get("rules") or ())


def _compared(rules: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for rule in rules:
        kept = {name: rule.get(name) for name in _OURS if name != "data"}
        kept["for"] = _seconds(str(rule.get("for", "0s")))
        kept["data"] = [
            {
                "refId": one["refId"],
                "datasourceUid": one["datasourceUid"],
                "model": {name: one["model"].get(name) for name in ("expr", "type", "expression")},
            }
            for one in rule["data"]
        ]
        found.append(kept)
    return sorted(found, key=lambda rule: str(rule["uid"]))


def _seconds(text: str) -> float:
    """`1m`, `60s` and `0h1m0s` are the same; Grafana writes another than it was given."""
    import re

    factors = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    return sum(float(number) * factors[unit] for number, unit in re.findall(r"([\d.]+)([dhms])", text))


# who hears of it ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Write:
    """One call that changes who hears of alerts, and what it does in words."""

    line: str
    method: str
    path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]


def planned_hearing(grafana: Door, contact: str, emails: Sequence[str], deployment: str) -> list[Write]:
    """What has to be done so that alerts of this deployment go to these addresses. Reads only."""
    return [one for one in (_contact(grafana, contact, emails), _route(grafana, contact, deployment)) if one]


def apply_hearing(grafana: Door, writes: Sequence[Write]) -> None:
    for one in writes:
        grafana.call(one.method, one.path, one.line, body=one.body, headers=one.headers)


def _contact(grafana: Door, name: str, emails: Sequence[str]) -> Write | None:
    wanted = {"addresses": ";".join(emails), "singleEmail": False}
    points = grafana.call("GET", POINTS, "read the contact points", query={"name": name}) or ()
    ours = next((one for one in points if one["name"] == name and one["type"] == "email"), None)
    body = {"name": name, "type": "email", "settings": wanted, "disableResolveMessage": False}
    if ours is None:
        return Write(f"create contact point {name}", "POST", POINTS, body, {})
    if ours["settings"].get("addresses") == wanted["addresses"]:
        return None
    return Write(f"change contact point {name}", "PUT", f"{POINTS}/{ours['uid']}", {**ours, **body}, {})


def _route(grafana: Door, contact: str, deployment: str) -> Write | None:
    policy = grafana.call("GET", POLICIES, "read the notification policy")
    matchers = [["deployment", "=", deployment]]
    route = {
        "receiver": contact,
        "object_matchers": matchers,
        "group_by": ["alertname", "deployment"],
        "group_wait": "30s",
        "group_interval": "5m",
        "repeat_interval": "12h",
    }
    routes = list(policy.get("routes") or ())
    ours = next((one for one in routes if one.get("object_matchers") == matchers), None)
    if ours is not None and ours.get("receiver") == contact:
        return None
    others = [one for one in routes if one is not ours]
    return Write(
        f"send alerts of {deployment} to {contact}",
        "PUT",
        POLICIES,
        {**policy, "routes": [route, *others]},
        {"X-Disable-Provenance": "true"},
    )
