"""The Usage API: what was used and what it cost, summed as the client asks, and only as far as it is known yet."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ocifree_pipeline.sandbox import billing, prices
from ocifree_pipeline.sandbox.clock import parse, stamp
from ocifree_pipeline.sandbox.oracle import errors, pages
from ocifree_pipeline.sandbox.oracle.compartments import ancestors
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service
from ocifree_pipeline.sandbox.world import World

MODELS = "oci.usage_api.models"
LONGEST = {"HOURLY": timedelta(hours=36), "DAILY": timedelta(days=90), "MONTHLY": timedelta(days=366)}
PRECISION = "UTC date does not have the right precision: {}"

service = Service("usageapi")

Field = Callable[[World, billing.Charge], Any]


def _compartment_name(world: World, charge: billing.Charge) -> str:
    compartment = world.get("compartment", charge.span.compartment)
    return str(compartment.body["name"]) if compartment else ""


def _compartment_path(world: World, charge: billing.Charge) -> str:
    compartment = world.get("compartment", charge.span.compartment)
    if compartment is None:
        return ""
    names = [one.body["name"] for one in ancestors(world, compartment)]
    return "/".join(reversed(names))


FIELDS: dict[str, tuple[str, Field]] = {
    "service": ("service", lambda _world, charge: charge.sku.service),
    "skuName": ("skuName", lambda _world, charge: charge.sku.name),
    "skuPartNumber": ("skuPartNumber", lambda _world, charge: charge.sku.number),
    "unit": ("unit", lambda _world, charge: charge.sku.unit),
    "compartmentId": ("compartmentId", lambda _world, charge: charge.span.compartment),
    "compartmentName": ("compartmentName", _compartment_name),
    "compartmentPath": ("compartmentPath", _compartment_path),
    "platform": ("platform", lambda _world, _charge: "Gen-2"),
    "region": ("region", lambda _world, charge: charge.span.region),
    "logicalAd": ("ad", lambda _world, charge: charge.span.ad),
    "shape": ("shape", lambda _world, charge: charge.span.facts.get("shape", "")),
    "resourceId": ("resourceId", lambda _world, charge: charge.span.ocid),
    "resourceName": ("resourceName", lambda _world, charge: charge.span.name),
    "tenantId": ("tenantId", lambda world, _charge: world.tenancy),
    "tenantName": ("tenantName", lambda world, _charge: world.profile["tenancyName"]),
}
"""What can be grouped by: the name in ``groupBy`` -> the field of the row, and its value."""


@dataclass(slots=True)
class Row:
    quantity: float = 0.0
    amount: float | None = None

    def add(self, charge: billing.Charge) -> None:
        self.quantity += charge.quantity
        if charge.amount is not None:
            self.amount = (self.amount or 0.0) + charge.amount


@service.post(
    "/usage",
    operation="RequestSummarizedUsages",
    body=f"{MODELS}.RequestSummarizedUsagesDetails",
    reply=f"{MODELS}.UsageAggregation",
    mutating=False,
)
def request_summarized_usages(call: Call) -> Reply:
    asked = call.body
    if asked["tenantId"] != call.world.tenancy:
        raise errors.not_found()
    if "forecast" in asked:
        raise errors.not_built("forecasts of the Usage API")
    start, end = _window(asked)
    group_by = _group_by(asked)
    kind = asked.get("queryType", "COST")
    rows: dict[tuple[Any, ...], Row] = {}
    if kind in {"COST", "USAGE", "USAGE_ONLY"}:
        until = min(end, billing.reported_until(call.world.clock.now()))
        for charge in billing.charges(call.world, start, until):
            if _matches(call.world, charge, asked.get("filter")):
                for key in _keys(call.world, charge, group_by, asked, (start, end)):
                    rows.setdefault(key, Row()).add(charge)
    items = [_item(key, row, group_by, asked, priced=kind != "USAGE_ONLY") for key, row in sorted(rows.items())]
    page = pages.page(call, items, default_limit=1000, id_key="")
    return Reply({"groupBy": asked.get("groupBy", []), "items": page.body}, headers=page.headers)


def _window(asked: dict[str, Any]) -> tuple[datetime, datetime]:
    start, end, granularity = parse(asked["timeUsageStarted"]), parse(asked["timeUsageEnded"]), asked["granularity"]
    for moment in (start, end):
        if moment.minute or moment.second or moment.microsecond:
            raise errors.invalid_parameter(PRECISION.format("minutes, seconds, and second fractions must be 0"))
        if granularity != "HOURLY" and moment.hour:
            raise errors.invalid_parameter(PRECISION.format("hours, minutes, seconds, and second fractions must be 0"))
    if end <= start:
        raise errors.invalid_parameter("timeUsageEnded must be after timeUsageStarted")
    longest = LONGEST.get(granularity)
    if longest is not None and end - start > longest:
        hours = longest // timedelta(hours=1)
        raise errors.invalid_parameter(f"{granularity} usage can be asked for {hours} hours at most at a time")
    return start, end


def _group_by(asked: dict[str, Any]) -> list[str]:
    names: list[str] = asked.get("groupBy", [])
    for name in names:
        if name not in FIELDS and name not in {"tagNamespace", "tagKey", "tagValue"}:
            raise errors.invalid_parameter(f"groupBy {name!r} must be one of: {', '.join(sorted(FIELDS))}")
    if len(asked.get("groupByTag", [])) > 1:
        raise errors.invalid_parameter("groupByTag takes one tag")
    return [name for name in names if name in FIELDS]


def _keys(
    world: World, charge: billing.Charge, group_by: list[str], asked: dict[str, Any], window: tuple[datetime, datetime]
) -> Iterator[tuple[Any, ...]]:
    """The row that a charge belongs to; one for each of its tags when tags are asked for."""
    bucket = _bucket(charge.hour, asked, window)
    values = tuple(str(FIELDS[name][1](world, charge)) for name in group_by)
    by_tag = asked.get("groupByTag")
    if not by_tag and not {"tagNamespace", "tagKey", "tagValue"} & set(asked.get("groupBy", [])):
        yield (*bucket, values, ("", "", ""))
        return
    wanted = by_tag[0] if by_tag else {}
    found = [
        tag
        for tag in _tags(charge)
        if wanted.get("key") in {None, tag[1]} and wanted.get("namespace") in {None, tag[0]}
    ]
    for tag in found or [("", "", "")]:
        yield (*bucket, values, tag)


def _bucket(hour: datetime, asked: dict[str, Any], window: tuple[datetime, datetime]) -> tuple[datetime, datetime]:
    start, end = window
    granularity = asked["granularity"]
    if granularity == "TOTAL" or asked.get("isAggregateByTime"):
        return window
    if granularity == "HOURLY":
        return hour, hour + billing.HOUR
    day = hour.replace(hour=0)
    if granularity == "DAILY":
        return day, day + timedelta(days=1)
    month = billing.first_of_month(hour)
    return max(month, start), min(billing.next_month(month), end)


def _item(
    key: tuple[Any, ...], row: Row, group_by: list[str], asked: dict[str, Any], *, priced: bool
) -> dict[str, Any]:
    start, end, values, (namespace, name, value) = key
    item: dict[str, Any] = {
        "timeUsageStarted": stamp(start),
        "timeUsageEnded": stamp(end),
        "computedQuantity": round(row.quantity, 9),
        "computedAmount": None if row.amount is None or not priced else round(row.amount, 9),
        "currency": prices.CURRENCY if priced else None,
        "isForecast": False,
        "tags": [{"namespace": namespace, "key": name, "value": value}] if name else [],
    }
    return item | {FIELDS[one][0]: text for one, text in zip(group_by, values, strict=True)}


def _tags(charge: billing.Charge) -> list[tuple[str, str, str]]:
    """Namespace, key and value; free-form tags have no namespace."""
    tags = charge.span.tags
    found = [("", key, str(value)) for key, value in tags["freeform"].items()]
    for namespace, pairs in tags["defined"].items():
        found += [(namespace, key, str(value)) for key, value in pairs.items()]
    return found


def _matches(world: World, charge: billing.Charge, condition: dict[str, Any] | None) -> bool:
    """Whether a charge passes a filter: dimensions, tags and inner filters, joined by its operator."""
    if condition is None:
        return True
    results = [_is(world, charge, one) for one in condition.get("dimensions", ())]
    results += [_is_tagged(charge, one) for one in condition.get("tags", ())]
    results += [_matches(world, charge, one) for one in condition.get("filters", ())]
    operator = condition.get("operator", "AND")
    if operator == "OR":
        return any(results)
    return not any(results) if operator == "NOT" else all(results)


def _is(world: World, charge: billing.Charge, dimension: dict[str, str]) -> bool:
    if dimension["key"] not in FIELDS:
        raise errors.invalid_parameter(f"filter dimension {dimension['key']!r} is unknown")
    value = str(FIELDS[dimension["key"]][1](world, charge))
    return value.lower() == dimension["value"].lower()


def _is_tagged(charge: billing.Charge, wanted: dict[str, str]) -> bool:
    return any(
        wanted.get("namespace") in {None, namespace}
        and wanted.get("key") in {None, key}
        and wanted.get("value") in {None, value}
        for namespace, key, value in _tags(charge)
    )
