"""Alert rules, contact points and policies, and what comes of them minute by minute: pending, firing, resolved, mails.

Of expressions are played: `reduce` (last), `threshold`, and the `math` that asks only whether there is a number, which
is how a Prometheus rule is written for Grafana.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import promql_parser

from ocifree_pipeline.sandbox import outbox
from ocifree_pipeline.sandbox.grafana import promql, sources, stack
from ocifree_pipeline.sandbox.grafana.boards import Refused, folders
from ocifree_pipeline.sandbox.grafana.promql import Vector, Wrong
from ocifree_pipeline.sandbox.world import World

EXPRESSION = "__expr__"
IS_NUMBER = re.compile(r"is_number\(\$(\w+)\) \|\| is_nan\(\$\1\) \|\| is_inf\(\$\1\)")
TEMPLATE = re.compile(r"\{\{\s*\$(labels\.(?P<label>\w+)|values\.(?P<ref>\w+)(\.Value)?|value)\s*\}\}")
RULE_FIELDS = ("uid", "title", "condition", "data", "for")


def groups(world: World) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = stack.facts(world).setdefault("ruleGroups", {})
    return found


def contact_points(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack.facts(world).setdefault("contactPoints", [])
    return found


def policy(world: World) -> dict[str, Any]:
    default = {"receiver": "grafana-default-email", "group_by": ["grafana_folder", "alertname"]}
    found: dict[str, Any] = stack.facts(world).setdefault("policy", default)
    return found


# provisioning ---------------------------------------------------------------------------------------------------------


def put_group(world: World, folder_uid: str, name: str, body: dict[str, Any], *, provenance: str) -> dict[str, Any]:
    """The whole group is replaced: rules that the body does not hold are gone."""
    if folder_uid not in folders(world):
        raise Refused(404, "folder does not exist")
    rules = body.get("rules")
    if not isinstance(rules, list):
        raise Refused(400, "bad request data")
    key = f"{folder_uid}/{name}"
    others = [one for at, group in groups(world).items() if at != key for one in group["rules"]]
    if len(others) + len(rules) > stack.limits(world).alert_rules:
        raise Refused(403, "quota has been exceeded", messageId="alerting.alert-rule.quotaReached")
    interval = int(body.get("interval") or 60)
    if interval % 10:
        raise Refused(400, f"invalid alert rule: interval ({interval}s) should be divided exactly by scheduler interval: 10s")  # noqa: E501  # fmt: skip
    titles: set[str] = set()
    for rule in rules:
        missing = [field for field in RULE_FIELDS if not rule.get(field) and rule.get(field) != "0s"]
        if missing:
            raise Refused(400, f"invalid alert rule: {', '.join(missing)} missing")
        if rule["condition"] not in {one.get("refId") for one in rule["data"]}:
            raise Refused(400, f"invalid alert rule: condition {rule['condition']} does not exist, must be one of its queries")  # noqa: E501  # fmt: skip
        if rule["title"] in titles:
            raise Refused(409, "a conflicting alert rule is found: rule title under the same organisation and folder should be unique")  # noqa: E501  # fmt: skip
        titles.add(rule["title"])
    saved = {
        "title": name,
        "folderUid": folder_uid,
        "interval": interval,
        "rules": [{**rule, "folderUID": folder_uid, "ruleGroup": name, "provenance": provenance} for rule in rules],
    }
    groups(world)[key] = saved
    alive = {rule["uid"] for rule in rules}
    gone = [at for at, one in _states(world).items() if one["group"] == key and one["rule"] not in alive]
    for at in gone:
        del _states(world)[at]
    return saved


def group(world: World, folder_uid: str, name: str) -> dict[str, Any]:
    found = groups(world).get(f"{folder_uid}/{name}")
    if found is None:
        raise Refused(404, "rule group does not exist")
    return found


def remove_group(world: World, folder_uid: str, name: str) -> None:
    group(world, folder_uid, name)
    del groups(world)[f"{folder_uid}/{name}"]


def put_contact_point(world: World, body: dict[str, Any], uid: str | None) -> dict[str, Any]:
    settings = body.get("settings") or {}
    if not body.get("name") or body.get("type") != "email":
        raise Refused(400, "the sandbox plays contact points of type email, which need a name")
    if not settings.get("addresses"):
        raise Refused(400, "could not find addresses in settings")
    known = contact_points(world)
    if uid is not None:
        at = next((i for i, one in enumerate(known) if one["uid"] == uid), None)
        if at is None:
            raise Refused(404, f"contact point with uid '{uid}' not found")
        known[at] = {**body, "uid": uid, "provenance": "api"}
        return known[at]
    known.append({**body, "uid": str(body.get("uid") or world.fresh("contactpoint", 14)), "provenance": "api"})
    return known[-1]


def put_policy(world: World, body: dict[str, Any]) -> None:
    names = {one["name"] for one in contact_points(world)} | {"grafana-default-email"}
    for route in [body, *body.get("routes", [])]:
        if route.get("receiver") and route["receiver"] not in names:
            raise Refused(400, f"receiver '{route['receiver']}' does not exist")
    if not body.get("receiver"):
        raise Refused(400, "invalid format: root route must specify a default receiver")
    stack.facts(world)["policy"] = body


# evaluation -----------------------------------------------------------------------------------------------------------


def _states(world: World) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = stack.facts(world).setdefault("alerts", {})
    return found


def evaluate(world: World) -> None:
    """One round over all rules whose interval has passed."""
    now = world.clock.now().timestamp()
    for key, one in groups(world).items():
        if now - one.get("evaluated", 0.0) < one["interval"] - 1:
            continue
        one["evaluated"] = now
        for rule in one["rules"]:
            if not rule.get("isPaused"):
                _round(world, key, rule, now)


def _round(world: World, key: str, rule: dict[str, Any], now: float) -> None:
    health = stack.facts(world).setdefault("ruleHealth", {})
    try:
        results = _run(world, rule, int(now * 1000))
    except (Wrong, KeyError, TypeError, ValueError) as error:
        health[rule["uid"]] = {"health": "error", "lastError": f"{type(error).__name__}: {error}"}
        return
    health[rule["uid"]] = {"health": "ok", "lastError": ""}
    states = _states(world)
    values = {json.dumps(sorted(labels.items())): (labels, found) for labels, found in results if found["condition"]}
    for at in [at for at, one in states.items() if one["rule"] == rule["uid"]]:
        if json.dumps(sorted(states[at]["labels"].items())) not in values:
            state = states.pop(at)
            if state["state"] == "firing":
                _mail(world, rule, state, "RESOLVED", now)
    wait = promql_parser.parse_duration(str(rule["for"])).total_seconds() if rule["for"] != "0s" else 0.0
    for text, (labels, found) in values.items():
        state = states.setdefault(
            f"{rule['uid']}{text}",
            {"rule": rule["uid"], "group": key, "labels": labels, "since": now, "state": "pending", "value": 0.0},
        )
        state["value"] = found["value"]
        if state["state"] == "pending" and now - state["since"] >= wait:
            state |= {"state": "firing", "fired": now}
            _mail(world, rule, state, "FIRING", now)


def _run(world: World, rule: dict[str, Any], at: int) -> list[tuple[dict[str, str], dict[str, Any]]]:
    """Labels with the value and whether the condition holds."""
    values: dict[str, Vector] = {}
    first: Vector = []
    for query in rule["data"]:
        model = query["model"]
        if query["datasourceUid"] != EXPRESSION:
            source = sources.prometheus(world, query["datasourceUid"])
            found = promql.instant(source, model["expr"], at)
            values[query["refId"]] = [({}, found)] if isinstance(found, float) else _vector(found)
            first = values[query["refId"]]
        else:
            values[query["refId"]] = _expression(model, values)
    numbers = {json.dumps(sorted(_plain(labels).items())): value for labels, value in first}
    found_rows = []
    for labels, value in values[rule["condition"]]:
        plain = _plain(labels)
        number = numbers.get(json.dumps(sorted(plain.items())), value)
        found_rows.append((plain, {"condition": value != 0 and not math.isnan(value), "value": number}))
    return found_rows


def _vector(value: Any) -> Vector:
    if not isinstance(value, list):
        raise Wrong("input data must be a wide series or numbers")
    return value


def _plain(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name != "__name__"}


def _expression(model: dict[str, Any], values: dict[str, Vector]) -> Vector:
    kind, text = model.get("type"), str(model.get("expression", ""))
    if kind == "math":
        match = IS_NUMBER.fullmatch(text)
        if match is None:
            raise promql.NotPlayed(f"the expression {text!r}")
        return [(labels, 1.0) for labels, _ in values[match[1]]]
    if kind == "reduce" and model.get("reducer") == "last":
        return values[text]
    if kind == "threshold":
        evaluator = model["conditions"][0]["evaluator"]
        limit = float(evaluator["params"][0])
        tests = {"gt": lambda one: one > limit, "lt": lambda one: one < limit}
        if evaluator["type"] not in tests:
            raise promql.NotPlayed(f"the threshold {evaluator['type']}")
        return [(labels, float(tests[evaluator["type"]](value))) for labels, value in values[text]]
    raise promql.NotPlayed(f"the expression type {kind}")


# what people hear -----------------------------------------------------------------------------------------------------


def _mail(world: World, rule: dict[str, Any], state: dict[str, Any], status: str, now: float) -> None:
    labels = {"alertname": rule["title"], **rule.get("labels", {}), **state["labels"]}
    told = {name: filled(text, labels, state["value"]) for name, text in rule.get("annotations", {}).items()}
    about = " ".join(str(value) for value in state["labels"].values())
    receivers = {one["name"]: one["settings"]["addresses"] for one in contact_points(world)}
    addresses = receivers.get(_receiver(world, labels), "")
    text = "\n".join(f"{name}: {value}" for name, value in told.items())
    outbox.send(
        world,
        [one.strip() for one in re.split("[;,\n]", addresses) if one.strip()],
        f"[{status}:1] {rule['title']} ({about})",
        text,
        alert=rule["uid"],
        labels=labels,
        waited=now - state["since"],
    )


def _receiver(world: World, labels: dict[str, str]) -> str:
    """The first route whose matchers hold, else the root."""
    root = policy(world)
    for route in root.get("routes", ()):
        matchers = route.get("object_matchers", ())
        if all(_holds(labels.get(name, ""), op, value) for name, op, value in matchers):
            return str(route.get("receiver") or root["receiver"])
    return str(root["receiver"])


def _holds(text: str, op: str, value: str) -> bool:
    matched = text == value if op in {"=", "!="} else re.fullmatch(value, text) is not None
    return matched is (op in {"=", "=~"})


def filled(text: str, labels: Mapping[str, str], value: float) -> str:
    """`{{ $labels.node }}`, `{{ $values.query }}` and `{{ $value }}`; other templates stay as they are.

    The last is no number at Grafana but words about how the condition was met.
    """

    def one(found: re.Match[str]) -> str:
        if found["label"]:
            return labels.get(found["label"], "")
        given = ", ".join(f"{name}={text}" for name, text in sorted(labels.items()))
        return f"{value:g}" if found["ref"] else f"[ var='query' labels={{{given}}} value={value:g} ]"

    return TEMPLATE.sub(one, text)


def rules_state(world: World) -> list[dict[str, Any]]:
    """As Grafana's Prometheus-like API tells it."""
    health, states = stack.facts(world).get("ruleHealth", {}), list(_states(world).values())
    found = []
    for key, one in groups(world).items():
        rules = []
        for rule in one["rules"]:
            alerts = [state for state in states if state["rule"] == rule["uid"]]
            words = [state["state"] for state in alerts]
            rules.append(
                {
                    "state": "firing" if "firing" in words else "pending" if words else "inactive",
                    "name": rule["title"],
                    "uid": rule["uid"],
                    "health": "unknown",
                    "alerts": [
                        {
                            "labels": {"alertname": rule["title"], **rule.get("labels", {}), **state["labels"]},
                            "state": "Alerting" if state["state"] == "firing" else "Pending",
                            "activeAt": state["since"],
                            "value": repr(state["value"]),
                        }
                        for state in alerts
                    ],
                    **health.get(rule["uid"], {}),
                }
            )
        found.append({"name": one["title"], "file": key.partition("/")[0], "interval": one["interval"], "rules": rules})
    return found
