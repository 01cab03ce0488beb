"""Limits: what a tenancy may have of everything, what it uses, and the refusal of more.

Other services ask before they create anything:

    limits.require(call.world, compartment=ocid, ad=ad, needs={"standard-a1-core-count": 2}, region=call.region)

Limits come from the world's profile (``limit_catalogue``), use from the resources that exist (``limit_usage``), and
quotas from the tenancy's own policies (``quotas``).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.sandbox.oracle import errors, limit_usage, pages, quotas
from ocifree_pipeline.sandbox.oracle.identity import require_ad
from ocifree_pipeline.sandbox.oracle.limit_catalogue import LIMITS, SERVICES, Limit, find
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service
from ocifree_pipeline.sandbox.world import World

OVERRIDES = "limitOverrides"
MODELS = "oci.limits.models"
BASE = "/20190729"

service = Service("limits")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a limit is read: ``ad`` is empty for limits of a whole region."""

    region: str
    ad: str = ""


def require(
    world: World, *, compartment: str, ad: str | None, needs: Mapping[str, int], region: str | None = None
) -> None:
    """Let ``needs`` (limit name -> amount) pass, or raise LimitExceeded or QuotaExceeded with every name that is hit.

    ``region`` is that of the AD, or the home region, unless it is given.
    """
    where = region or region_of(world, ad)
    checks = list(_checks(world, ad, where, needs))
    over = [limit.name for limit, place, amount in checks if _room(world, limit, place) < amount]
    if over:
        raise errors.limit_exceeded(*over)
    over = [
        limit.name for limit, place, amount in checks if _quota_room(world, limit, place, compartment, amount) < amount
    ]
    if over:
        raise errors.quota_exceeded(*over)


def value(world: World, limit: Limit, place: Place) -> int:
    """The limit itself, whatever is in use."""
    overrides = world.facts.get(OVERRIDES, {})
    for key in (f"{limit.name}@{place.ad}", limit.name, "*"):
        if key in overrides:
            return int(overrides[key])
    return limit.value(world, place.ad)


def used(world: World, limit: Limit, place: Place) -> int:
    """How much of the limit is taken in the whole tenancy."""
    return sum(use.amount for use in uses(world, limit, place))


def uses(world: World, limit: Limit, place: Place) -> Iterator[limit_usage.Use]:
    if limit.used is not None:
        names = {limit.name} | {one.name for one in LIMITS.values() if limit.name in one.twins}
        for use in (*limit.used(world), *limit_usage.ghosts(world, names)):
            if limit.scope == "GLOBAL" or (use.region == place.region and (limit.scope != "AD" or use.ad == place.ad)):
                yield use


def override(world: World, name: str, amount: int | None, ad: str = "") -> None:
    """Set a limit by hand, in one AD or everywhere; ``*`` means all limits (a banned tenancy has 0 of each).

    None gives the profile's value back.
    """
    if name != "*":
        name = find(name).name
    overrides = world.facts.setdefault(OVERRIDES, {})
    key = f"{name}@{ad}" if ad else name
    overrides.pop(key, None)
    if amount is not None:
        overrides[key] = amount


def region_of(world: World, ad: str | None) -> str:
    """The subscribed region that an availability domain lies in; the home region when there is no AD."""
    if ad is not None:
        for region in world.regions:
            if ad in world.availability_domains(region):
                return region
    return world.home_region


def _checks(world: World, ad: str | None, region: str, needs: Mapping[str, int]) -> Iterator[tuple[Limit, Place, int]]:
    """Every limit that must have room: those that are named first, then their twins, as Oracle lists them."""
    named = [(find(name), amount) for name, amount in needs.items() if amount > 0]
    twins = [(LIMITS[twin], amount) for limit, amount in named for twin in limit.twins]
    paying = world.profile["account"] != "free"
    for limit, amount in (*named, *twins):
        if limit.scope == "AD" and ad is None:
            raise ValueError(f"{limit.name} is a limit per availability domain; say which one")
        if limit.binds_paying or not paying:
            yield limit, Place(region, ad or "" if limit.scope == "AD" else ""), amount


def _room(world: World, limit: Limit, place: Place) -> int:
    return value(world, limit, place) - used(world, limit, place)


def _quota_room(world: World, limit: Limit, place: Place, compartment: str, enough: int) -> int:
    """What the quota policies leave to ``compartment``; ``enough`` when no policy says anything."""
    return min(
        (
            ceiling.amount - _used_in(world, limit, place, ceiling.compartment)
            for ceiling in quotas.ceilings(world, limit, compartment=compartment, region=place.region, ad=place.ad)
        ),
        default=enough,
    )


def _used_in(world: World, limit: Limit, place: Place, compartment: str) -> int:
    return sum(use.amount for use in uses(world, limit, place) if quotas.inside(world, use, compartment))


# what clients ask


@service.get(f"{BASE}/services", operation="ListServices", reply=f"list[{MODELS}.ServiceSummary]")
def list_services(call: Call) -> Reply:
    call.compartment(call.query.need("compartmentId"))
    rows = [{"name": name, "description": text} for name, text in SERVICES.items()]
    return pages.page(call, _sorted(call, rows, ("name", "description")), id_key="name")


@service.get(
    f"{BASE}/limitDefinitions", operation="ListLimitDefinitions", reply=f"list[{MODELS}.LimitDefinitionSummary]"
)
def list_limit_definitions(call: Call) -> Reply:
    call.compartment(call.query.need("compartmentId"))
    rows = [
        {
            "name": limit.name,
            "serviceName": limit.service,
            "description": limit.description,
            "scopeType": limit.scope,
            "areQuotasSupported": limit.family is not None,
            "isResourceAvailabilitySupported": limit.used is not None,
            "isDeprecated": False,
            "isEligibleForLimitIncrease": call.world.profile["account"] != "free",
            "isDynamic": False,
            "supportedQuotaFamilies": [limit.family] if limit.family else [],
        }
        for limit in _chosen(call, call.query.get("serviceName"))
    ]
    return pages.page(call, _sorted(call, rows, ("name", "description")), id_key="name")


@service.get(f"{BASE}/limitValues", operation="ListLimitValues", reply=f"list[{MODELS}.LimitValueSummary]")
def list_limit_values(call: Call) -> Reply:
    call.compartment(call.query.need("compartmentId"))
    scope, ad = call.query.get("scopeType"), call.query.get("availabilityDomain")
    if scope not in {None, "GLOBAL", "REGION", "AD"}:
        raise errors.invalid_parameter("scopeType must be GLOBAL, REGION or AD")
    rows = [
        {
            "name": limit.name,
            "scopeType": limit.scope,
            "availabilityDomain": place.ad or None,
            "value": value(call.world, limit, place),
        }
        for limit in _chosen(call, call.query.need("serviceName"))
        for place in _places(call, limit)
        if scope in {None, limit.scope} and ad in {None, place.ad}
    ]
    return pages.page(call, _sorted(call, rows, ("name",)), id_key="")


@service.get(
    f"{BASE}/services/{{serviceName}}/limits/{{limitName}}/resourceAvailability",
    operation="GetResourceAvailability",
    reply=f"{MODELS}.ResourceAvailability",
)
def get_resource_availability(call: Call) -> Reply:
    compartment = call.compartment(call.query.need("compartmentId")).ocid
    limit = LIMITS.get(call.path["limitName"])
    if limit is None or limit.service != call.path["serviceName"] or limit.used is None:
        raise errors.not_found()
    ad = call.query.get("availabilityDomain")
    if limit.scope == "AD":
        if ad is None:
            raise errors.invalid_parameter(f"availabilityDomain is required: {limit.name} is a limit of scope AD")
        require_ad(call.world, call.region, ad)
    elif ad is not None:
        raise errors.invalid_parameter(
            f"availabilityDomain must not be given: {limit.name} is a limit of scope {limit.scope}"
        )
    place = Place(call.region, ad or "")
    taken = used(call.world, limit, place)
    left = value(call.world, limit, place) - taken
    body: dict[str, Any] = {"used": taken, "available": left, "fractionalUsage": taken, "fractionalAvailability": left}
    ceilings = quotas.ceilings(call.world, limit, compartment=compartment, region=place.region, ad=place.ad)
    if ceilings:
        left = min(left, _quota_room(call.world, limit, place, compartment, left))
        body |= {
            "effectiveQuotaValue": min(one.amount for one in ceilings),
            "available": left,
            "fractionalAvailability": left,
        }
    return Reply(body)


def _chosen(call: Call, service_name: str | None) -> list[Limit]:
    if service_name is not None and service_name not in SERVICES:
        raise errors.not_found(f"Service {service_name} not found")
    name = call.query.get("name")
    return [limit for limit in LIMITS.values() if service_name in {None, limit.service} and name in {None, limit.name}]


def _places(call: Call, limit: Limit) -> list[Place]:
    if limit.scope == "AD":
        return [Place(call.region, ad) for ad in call.world.availability_domains(call.region)]
    return [Place(call.region)]


def _sorted(call: Call, rows: list[dict[str, Any]], allowed: tuple[str, ...]) -> list[dict[str, Any]]:
    by, order = call.query.get("sortBy") or allowed[0], call.query.get("sortOrder") or "ASC"
    if by not in allowed or order not in {"ASC", "DESC"}:
        raise errors.invalid_parameter(f"sortBy must be one of {', '.join(allowed)}, and sortOrder ASC or DESC")
    return sorted(rows, key=lambda row: str(row[by]), reverse=order == "DESC")
