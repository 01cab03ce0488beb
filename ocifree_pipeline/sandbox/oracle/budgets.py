"""Budgets and their alert rules: an amount for a month, and mails when spending, or its forecast, passes a threshold.

A budget refuses nothing. It is evaluated once a day (every six hours when a rule is about the forecast), on figures
that are hours old by then; so an alert comes up to a day and a half after the money was spent.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from ocifree_pipeline.sandbox import billing, money, outbox
from ocifree_pipeline.sandbox.clock import parse, stamp
from ocifree_pipeline.sandbox.oracle import errors, pages
from ocifree_pipeline.sandbox.oracle.compartments import ancestors
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service
from ocifree_pipeline.sandbox.world import Resource, World, transition

KIND, RULE = "budget", "alertrule"
MODELS = "oci.budget.models"
EVALUATED_EVERY = timedelta(hours=24)
FORECAST_EVERY = timedelta(hours=6)
FORECAST_NEEDS = timedelta(days=3)
LONGEST = timedelta(days=5 * 366)
LAST_YEAR = 9000
MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
TAG = re.compile(r"[^.]+\.[^.]+\.[^.]+")

service = Service("budget")


# budgets


@service.post("/budgets", operation="CreateBudget", body=f"{MODELS}.CreateBudgetDetails", reply=f"{MODELS}.Budget")
def create_budget(call: Call) -> Reply:
    call.home_region_only()
    if call.compartment(call.body["compartmentId"]).ocid != call.world.tenancy:
        raise errors.invalid_parameter("compartmentId must be the tenancy: budgets live in the root compartment")
    body = _check_budget(_targeted(call) | {"displayName": call.body.get("displayName") or _name(call.world, KIND)})
    _check_free_name(call.world, body["displayName"])
    now = call.world.clock.stamp()
    filled = {
        "processingPeriodType": "MONTH",
        "alertRuleCount": 0,
        "version": 1,
        "actualSpend": 0.0,
        "forecastedSpend": 0.0,
        "timeSpendComputed": None,
        "timeUpdated": now,
        "lifecycleState": "ACTIVE",
        "systemTags": {},
    }
    budget = call.world.add(KIND, filled | body, region="")
    _evaluate_later(call.world, budget)
    return Reply.of(budget)


@service.get("/budgets/{budgetId}", operation="GetBudget", reply=f"{MODELS}.Budget")
def get_budget(call: Call) -> Reply:
    return Reply.of(call.find(KIND, call.path["budgetId"]))


@service.get("/budgets", operation="ListBudgets", reply=f"list[{MODELS}.BudgetSummary]")
def list_budgets(call: Call) -> Reply:
    wanted = call.query.get("targetType")
    if wanted not in {None, "ALL", "COMPARTMENT", "TAG"}:
        raise errors.invalid_parameter("targetType must be ALL, COMPARTMENT or TAG")
    found = [
        one
        for one in call.world.all(KIND)
        if wanted == "ALL" or one.body["targetType"] == (wanted or one.body["targetType"])
    ]
    return pages.listing(
        call, found, filters=("displayName", "lifecycleState"), sort=("TIMECREATED", "DISPLAYNAME"), default_limit=25
    )


@service.put(
    "/budgets/{budgetId}", operation="UpdateBudget", body=f"{MODELS}.UpdateBudgetDetails", reply=f"{MODELS}.Budget"
)
def update_budget(call: Call) -> Reply:
    call.home_region_only()
    budget = call.edit(KIND, call.path["budgetId"])
    body = _check_budget(budget.body | call.body)
    if body["displayName"] != budget.body["displayName"]:
        _check_free_name(call.world, body["displayName"])
    return Reply.of(_updated(call.world, budget, call.body))


@service.delete("/budgets/{budgetId}", operation="DeleteBudget")
def delete_budget(call: Call) -> Reply:
    call.home_region_only()
    budget = call.edit(KIND, call.path["budgetId"])
    for rule in _rules(call.world, budget):
        call.world.remove(rule)
    call.world.remove(budget)
    return Reply()


# alert rules


@service.post(
    "/budgets/{budgetId}/alertRules",
    operation="CreateAlertRule",
    body=f"{MODELS}.CreateAlertRuleDetails",
    reply=f"{MODELS}.AlertRule",
)
def create_alert_rule(call: Call) -> Reply:
    call.home_region_only()
    budget = call.find(KIND, call.path["budgetId"])
    body = _check_rule({"recipients": ""} | call.body)
    filled = {
        "budgetId": budget.ocid,
        "displayName": _name(call.world, RULE),
        "version": 1,
        "timeUpdated": call.world.clock.stamp(),
        "lifecycleState": "ACTIVE",
    }
    rule = call.world.add(RULE, filled | body, region="", hidden={"firedFor": ""})
    _count_rules(call.world, budget)
    if body["type"] == "FORECAST":
        _evaluate_later(call.world, budget)
    return Reply.of(rule)


@service.get("/budgets/{budgetId}/alertRules/{alertRuleId}", operation="GetAlertRule", reply=f"{MODELS}.AlertRule")
def get_alert_rule(call: Call) -> Reply:
    return Reply.of(_rule(call, call.find(RULE, call.path["alertRuleId"])))


@service.get("/budgets/{budgetId}/alertRules", operation="ListAlertRules", reply=f"list[{MODELS}.AlertRuleSummary]")
def list_alert_rules(call: Call) -> Reply:
    budget = call.find(KIND, call.path["budgetId"])
    return pages.listing(
        call,
        _rules(call.world, budget),
        filters=("displayName", "lifecycleState"),
        sort=("TIMECREATED", "DISPLAYNAME"),
        compartment=False,
        default_limit=25,
    )


@service.put(
    "/budgets/{budgetId}/alertRules/{alertRuleId}",
    operation="UpdateAlertRule",
    body=f"{MODELS}.UpdateAlertRuleDetails",
    reply=f"{MODELS}.AlertRule",
)
def update_alert_rule(call: Call) -> Reply:
    call.home_region_only()
    rule = _rule(call, call.edit(RULE, call.path["alertRuleId"]))
    _check_rule(rule.body | call.body)
    rule.hidden["firedFor"] = ""
    return Reply.of(_updated(call.world, rule, call.body))


@service.delete("/budgets/{budgetId}/alertRules/{alertRuleId}", operation="DeleteAlertRule")
def delete_alert_rule(call: Call) -> Reply:
    call.home_region_only()
    call.world.remove(_rule(call, call.edit(RULE, call.path["alertRuleId"])))
    _count_rules(call.world, call.find(KIND, call.path["budgetId"]))
    return Reply()


# evaluation


@transition("budget.evaluate")
def _evaluate(world: World, ocid: str, due: str) -> None:
    budget = world.get(KIND, ocid)
    if budget is None or budget.hidden.get("due") != due:
        return
    now = world.clock.now()
    known = billing.reported_until(now)  # the last hours of a month are known in the next one, and still belong to it
    start, end = period(budget.body, known)
    known = min(known, end)
    actual = billing.spent(world, start, known, _counts(world, budget)) if known > start else 0.0
    forecast = _forecast(actual, start, known, end)
    budget.body.update(actualSpend=round(actual, 6), forecastedSpend=round(forecast, 6), timeSpendComputed=stamp(now))
    for rule in _rules(world, budget):
        spent = forecast if rule.body["type"] == "FORECAST" else actual
        if spent >= _threshold(budget, rule) and rule.hidden["firedFor"] != stamp(start):
            rule.hidden["firedFor"] = stamp(start)
            _alert(world, budget, rule, spent)
    _evaluate_later(world, budget)


def period(body: dict[str, Any], moment: datetime) -> tuple[datetime, datetime]:
    """The stretch that a budget is about at a moment."""
    if body["processingPeriodType"] == "SINGLE_USE":
        start, end = (parse(body[name]).replace(hour=0, minute=0, second=0, microsecond=0) for name in _DATES)
        return start, end + timedelta(days=1)
    offset = max(1, body.get("budgetProcessingPeriodStartOffset") or 1)
    start = _day_of_month(billing.first_of_month(moment), offset)
    if start > moment:
        start = _day_of_month(billing.first_of_month(billing.first_of_month(moment) - timedelta(days=1)), offset)
    return start, _day_of_month(billing.next_month(start), offset)


_DATES = ("startDate", "endDate")


def _day_of_month(month: datetime, day: int) -> datetime:
    """That day, or the last one of a month that is shorter."""
    return min(month + timedelta(days=day - 1), billing.next_month(month) - timedelta(days=1))


def _forecast(actual: float, start: datetime, known: datetime, end: datetime) -> float:
    """A straight line through what is known; there is none before three days have passed."""
    passed = known - start
    return actual * ((end - start) / passed) if passed >= FORECAST_NEEDS else 0.0


def _threshold(budget: Resource, rule: Resource) -> float:
    share = rule.body["thresholdType"] == "PERCENTAGE"
    return float(rule.body["threshold"]) * (budget.body["amount"] / 100 if share else 1.0)


def _counts(world: World, budget: Resource) -> Callable[[money.Span], bool]:
    """Which use the budget is about: a compartment with all below it, or a tag."""
    target = budget.body["targets"][0]
    if budget.body["targetType"] == "TAG":
        namespace, key, value = target.split(".")
        return lambda span: str(span.tags["defined"].get(namespace, {}).get(key)) == value

    def counts(span: money.Span) -> bool:
        where = world.get("compartment", span.compartment)
        return where is not None and any(one.ocid == target for one in ancestors(world, where))

    return counts


def _alert(world: World, budget: Resource, rule: Resource, spent: float) -> None:
    what = "forecast" if rule.body["type"] == "FORECAST" else "spend"
    amount, name = budget.body["amount"], budget.body["displayName"]
    text = f"The {what} of budget {name} is {spent:.2f} USD; rule {rule.body['displayName']} alerts from "
    text += f"{_threshold(budget, rule):.2f} USD of {amount:g} USD on.\n{rule.body.get('message', '')}"
    recipients = _recipients(rule.body["recipients"]) or [world.table("user")[world.profile["user"]].body["email"]]
    about = {"budget": budget.ocid, "alertRule": rule.ocid}
    outbox.send(world, recipients, f"Budget alert: {name}", text.strip(), **about)


def _evaluate_later(world: World, budget: Resource) -> None:
    forecasts = any(rule.body["type"] == "FORECAST" for rule in _rules(world, budget))
    due = world.clock.now() + (FORECAST_EVERY if forecasts else EVALUATED_EVERY)
    budget.hidden["due"] = stamp(due)
    world.clock.at(due, "budget.evaluate", ocid=budget.ocid, due=stamp(due))


# what may be written


def _targeted(call: Call) -> dict[str, Any]:
    """The body with ``targetType`` and ``targets``, also when the client used the old ``targetCompartmentId``."""
    body = dict(call.body)
    old = body.get("targetCompartmentId")
    if old is not None and "targets" in body:
        raise errors.invalid_parameter("targetCompartmentId and targets cannot be given together")
    kind = body.setdefault("targetType", "COMPARTMENT")
    targets = body.setdefault("targets", [old] if old else [])
    if len(targets) != 1:
        raise errors.invalid_parameter("targets must hold exactly one item")
    if kind == "COMPARTMENT":
        call.compartment(targets[0])
        body["targetCompartmentId"] = targets[0]
    elif not TAG.fullmatch(targets[0]):
        raise errors.invalid_parameter("targets of type TAG are written as namespace.key.value")
    return body


def _check_budget(body: dict[str, Any]) -> dict[str, Any]:
    if body["amount"] < 1 or body["amount"] != int(body["amount"]):
        raise errors.invalid_parameter("amount must be a whole number from 1 on, in the currency of the rate card")
    if not 1 <= body.get("budgetProcessingPeriodStartOffset", 1) <= 31:
        raise errors.invalid_parameter("budgetProcessingPeriodStartOffset must be a day of the month")
    if body.get("processingPeriodType") == "SINGLE_USE":
        for name in _DATES:
            if not body.get(name):
                raise errors.missing_parameter(name)
        start, end = (parse(body[name]) for name in _DATES)
        if start.year > LAST_YEAR:
            raise errors.invalid_parameter(f"startDate {body['startDate']} is too far away")
        if not start <= end <= start + LONGEST:
            raise errors.invalid_parameter("endDate must not be before startDate, nor more than five years after it")
    return body


def _check_free_name(world: World, name: str) -> None:
    if any(one.body["displayName"] == name for one in world.all(KIND)):
        raise errors.conflict(f"A budget with the name '{name}' already exists")


def _check_rule(body: dict[str, Any]) -> dict[str, Any]:
    threshold, share = body["threshold"], body["thresholdType"] == "PERCENTAGE"
    if threshold <= 0 or round(threshold, 2) != threshold or threshold > (10_000 if share else 999_999_999_999):
        most = "10000" if share else "12 digits"
        raise errors.invalid_parameter(f"threshold must be above 0, up to {most}, with two decimals at most")
    for one in _recipients(body["recipients"]):
        if not MAIL.fullmatch(one):
            raise errors.invalid_parameter(f"recipients: {one!r} is not a mail address")
    return body


def _recipients(text: str) -> list[str]:
    return [one for one in re.split(r"[,;\s]+", text) if one]


def _rule(call: Call, rule: Resource) -> Resource:
    if rule.body["budgetId"] != call.path["budgetId"]:
        raise errors.not_found()
    return rule


def _rules(world: World, budget: Resource) -> list[Resource]:
    return [one for one in world.all(RULE) if one.body["budgetId"] == budget.ocid]


def _count_rules(world: World, budget: Resource) -> None:
    world.change(budget, alertRuleCount=len(_rules(world, budget)))


def _updated(world: World, resource: Resource, fields: dict[str, Any]) -> Resource:
    version = resource.body["version"] + 1
    return world.change(resource, **fields, version=version, timeUpdated=world.clock.stamp())


def _name(world: World, kind: str) -> str:
    return f"{kind}-{world.fresh(f'{kind} name', 8)}"
