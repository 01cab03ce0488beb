"""Quota policies: the tenancy's own refusals, and what they leave of a limit.

Inside one policy the statements are read in order, and a later one about the same compartment takes the place of an
earlier one; ``unset`` also frees its compartment from what its parents were given earlier in that policy. Between
policies, and between a compartment and its parents, the strictest counts. What a compartment uses includes
everything below it. A policy is in force a little while after it was written.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ocifree_pipeline.sandbox.oracle import errors, limit_usage, pages
from ocifree_pipeline.sandbox.oracle.compartments import ancestors
from ocifree_pipeline.sandbox.oracle.limit_catalogue import FAMILIES, Limit, quota_names
from ocifree_pipeline.sandbox.oracle.quota_language import BadStatement, Statement, parse
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service
from ocifree_pipeline.sandbox.world import Resource, World, transition

ENFORCE_SECONDS = 120
KIND = "quota"
MODELS = "oci.limits.models"
BASE = "/20181025/quotas"
SUMMARY = ("id", "compartmentId", "name", "description", "timeCreated", "lifecycleState", "freeformTags", "definedTags")

service = Service("limits")


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most that everything in and below one compartment may use."""

    compartment: str
    amount: int


@service.post(BASE, operation="CreateQuota", body=f"{MODELS}.CreateQuotaDetails", reply=f"{MODELS}.Quota")
def create_quota(call: Call) -> Reply:
    call.home_region_only()
    if call.compartment(call.body["compartmentId"]).ocid != call.world.tenancy:
        raise errors.invalid_parameter("compartmentId must be the tenancy: quotas live in the root compartment")
    if not call.body["name"]:
        raise errors.invalid_parameter("name must not be empty")
    if any(one.body["name"] == call.body["name"] for one in call.world.all(KIND)):
        raise errors.already_exists("QuotaAlreadyExists", f"Quota '{call.body['name']}' already exists")
    if call.body.get("locks"):
        raise errors.not_built("locks on quotas")
    parsed = _parse_all(call.world, call.body["statements"])
    quota = call.world.add(KIND, call.body | {"lifecycleState": "ACTIVE"}, region="", hidden={"inForce": []})
    call.world.clock.later(ENFORCE_SECONDS, "quota.enforce", ocid=quota.ocid, statements=parsed)
    return Reply.of(quota)


@service.get(f"{BASE}/{{quotaId}}", operation="GetQuota", reply=f"{MODELS}.Quota")
def get_quota(call: Call) -> Reply:
    return Reply.of(call.find(KIND, call.path["quotaId"]))


@service.get(BASE, operation="ListQuotas", reply=f"list[{MODELS}.QuotaSummary]")
def list_quotas(call: Call) -> Reply:
    inside = call.compartment(call.query.need("compartmentId")).ocid
    wanted = {name: call.query.get(name) for name in ("name", "lifecycleState")}
    found = [
        one
        for one in call.world.all(KIND)
        if one.body["compartmentId"] == inside
        and all(value is None or one.body[name] == value for name, value in wanted.items())
    ]
    ordered = pages.ordered(call, found, ("NAME", "TIMECREATED"))
    return pages.page(call, [{name: one.body[name] for name in SUMMARY} for one in ordered])


@service.put(
    f"{BASE}/{{quotaId}}", operation="UpdateQuota", body=f"{MODELS}.UpdateQuotaDetails", reply=f"{MODELS}.Quota"
)
def update_quota(call: Call) -> Reply:
    call.home_region_only()
    quota = call.edit(KIND, call.path["quotaId"])
    if "statements" in call.body:
        parsed = _parse_all(call.world, call.body["statements"])
        call.world.clock.later(ENFORCE_SECONDS, "quota.enforce", ocid=quota.ocid, statements=parsed)
    return Reply.of(call.world.change(quota, **call.body))


@service.delete(f"{BASE}/{{quotaId}}", operation="DeleteQuota")
def delete_quota(call: Call) -> Reply:
    call.home_region_only()
    call.world.remove(call.edit(KIND, call.path["quotaId"]))
    return Reply()


@transition("quota.enforce")
def _enforce(world: World, ocid: str, statements: list[list[Any]]) -> None:
    quota = world.get(KIND, ocid)
    if quota is not None:
        quota.hidden["inForce"] = statements


def ceilings(world: World, limit: Limit, *, compartment: str, region: str, ad: str) -> list[Ceiling]:
    """What the policies allow to a request in ``compartment``: one ceiling per policy and compartment of its line."""
    line = [one.ocid for one in ancestors(world, world.table("compartment")[compartment])]
    found: list[Ceiling] = []
    for quota in world.all(KIND):
        allowed: dict[str, int] = {}
        for scope, statement in _in_force(quota):
            if scope in line and statement.covers(limit.family, limit.name) and statement.applies(region, ad):
                if statement.amount is None:
                    for freed in line[line.index(scope) :]:
                        allowed.pop(freed, None)
                else:
                    allowed[scope] = statement.amount
        found += [Ceiling(scope, amount) for scope, amount in allowed.items()]
    return found


def inside(world: World, use: limit_usage.Use, compartment: str) -> bool:
    """Whether a use counts for ``compartment``: it is in it or below it."""
    where = world.get("compartment", use.compartment)
    return where is not None and any(one.ocid == compartment for one in ancestors(world, where))


def _in_force(quota: Resource) -> Iterator[tuple[str, Statement]]:
    for scope, fields in quota.hidden["inForce"]:
        yield scope, Statement(**fields)


def _parse_all(world: World, texts: list[str]) -> list[list[Any]]:
    """The statements as data, each with the OCID of its compartment; 400 for the first that is wrong."""
    if not texts:
        raise errors.invalid_parameter("statements must hold at least one statement")
    parsed: list[list[Any]] = []
    for text in texts:
        try:
            statement = parse(text, families=FAMILIES, known=quota_names)
            parsed.append([_resolve(world, statement.compartment), asdict(statement)])
        except BadStatement as error:
            raise errors.invalid_parameter(f"Invalid quota statement '{text}': {error}") from error
    return parsed


def _resolve(world: World, path: str) -> str:
    """A path of compartment names, from the tenancy down, to an OCID."""
    parent = world.tenancy
    for name in path.split(":") if path else ():
        found = next(
            (
                one.ocid
                for one in world.all("compartment")
                if one.body["compartmentId"] == parent != one.ocid
                and one.body["name"].lower() == name.lower()
                and not one.gone
            ),
            None,
        )
        if found is None:
            raise BadStatement(f"there is no compartment {path!r}; write nested ones as Parent:Child")
        parent = found
    return parent
