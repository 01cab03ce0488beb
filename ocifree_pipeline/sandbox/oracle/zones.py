"""DNS, zones: public primary zones with the records that Oracle puts into every one of them, SOA and NS."""

from datetime import timedelta
from typing import Any

from ocifree_pipeline.sandbox.oracle import errors, limits, pages, record_data
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service
from ocifree_pipeline.sandbox.world import Resource, World, transition

KIND = "zone"
MODELS = "oci.dns.models"
ZONE = "/zones/{zoneNameOrId}"
CREATE_SECONDS, DELETE_SECONDS = 5, 5
LINGERS = timedelta(hours=1)
NAMESERVERS = tuple(f"ns{number}.p201.dns.oraclecloud.net" for number in (1, 2, 3, 4))
NOT_IN_SUMMARY = frozenset({"externalMasters", "externalDownstreams", "nameservers", "zoneTransferServers"})
ONLY = {"zoneType": "PRIMARY", "scope": "GLOBAL", "dnssecState": "DISABLED", "migrationSource": "NONE"}
"""The only kind of zone that is played."""

service = Service("dns")


@service.post("/zones", operation="CreateZone", body=f"{MODELS}.CreateZoneBaseDetails", reply=f"{MODELS}.Zone")
def create_zone(call: Call) -> Reply:
    body = dict(call.body)
    compartment = call.compartment(body["compartmentId"]).ocid
    _refuse_unplayed(body | {"scope": call.query.get("scope") or body.get("scope", "GLOBAL")})
    body.pop("migrationSource", None)
    name = record_data.canonical(body["name"])
    if not record_data.is_name(name) or "." not in name or "*" in name:
        raise errors.invalid_parameter(f"name {body['name']!r} is not a domain that can be a zone")
    if any(one.body["name"] == name and not one.gone for one in call.world.all(KIND)):
        raise errors.conflict(f"The zone {name} already exists")
    limits.require(call.world, compartment=compartment, ad=None, needs={"global-zone-count": 1}, region=call.region)
    ocid = call.world.new_ocid("dns-zone")
    filled = {
        "id": ocid,
        "zoneType": "PRIMARY",
        "scope": "GLOBAL",
        "viewId": None,
        "resolutionMode": "STATIC",
        "dnssecState": "DISABLED",
        "dnssecConfig": None,
        "externalMasters": [],
        "externalDownstreams": [],
        "self": f"https://dns.{call.region}.oci.oraclecloud.com/20180115/zones/{ocid}",
        "serial": 1,
        "version": "1",
        "isProtected": False,
        "nameservers": [{"hostname": one} for one in NAMESERVERS],
        "zoneTransferServers": [],
        "lifecycleState": "CREATING",
    }
    zone = call.world.add(KIND, filled | body | {"name": name}, ocid=ocid, region="", hidden={"records": []})
    zone.hidden["records"] = own_records(zone)
    call.world.later_state(CREATE_SECONDS, zone, "ACTIVE")
    return Reply.of(zone)


@service.get(ZONE, operation="GetZone", reply=f"{MODELS}.Zone")
def get_zone(call: Call) -> Reply:
    zone = find_zone(call)
    if call.headers.get("if-none-match") == zone.etag:
        raise errors.not_modified(zone.etag)
    return Reply.of(zone)


@service.get("/zones", operation="ListZones", reply=f"list[{MODELS}.ZoneSummary]")
def list_zones(call: Call) -> Reply:
    compartment = call.compartment(call.query.need("compartmentId")).ocid
    part = (call.query.get("nameContains") or "").lower()
    wanted = {name: call.query.get(name) for name in ("name", "zoneType", "lifecycleState", "scope", "dnssecState")}
    found = [
        {name: value for name, value in one.body.items() if name not in NOT_IN_SUMMARY}
        for one in call.world.all(KIND)
        if one.body["compartmentId"] == compartment
        and part in one.body["name"]
        and all(value is None or str(one.body[name]) == value for name, value in wanted.items())
    ]
    by, order = call.query.get("sortBy") or "name", call.query.get("sortOrder") or "ASC"
    if by not in {"name", "zoneType", "timeCreated"}:
        raise errors.invalid_parameter("sortBy must be name, zoneType or timeCreated")
    return pages.page(call, sorted(found, key=lambda one: str(one[by]), reverse=order == "DESC"), default_limit=50)


@service.put(ZONE, operation="UpdateZone", body=f"{MODELS}.UpdateZoneDetails", reply=f"{MODELS}.Zone")
def update_zone(call: Call) -> Reply:
    zone = edit_zone(call)
    _refuse_unplayed(call.body)
    call.world.change(zone, **call.body)
    return Reply.of(zone)


@service.delete(ZONE, operation="DeleteZone")
def delete_zone(call: Call) -> Reply:
    zone = edit_zone(call)
    call.world.change(zone, lifecycleState="DELETING")
    call.world.clock.later(DELETE_SECONDS, "zone.deleted", ocid=zone.ocid)
    return Reply()


@service.post(
    "/zones/{zoneNameOrId}/actions/changeCompartment",
    operation="ChangeZoneCompartment",
    body=f"{MODELS}.ChangeZoneCompartmentDetails",
    status=202,
)
def change_zone_compartment(call: Call) -> Reply:
    zone = edit_zone(call)
    call.world.change(zone, compartmentId=call.compartment(call.body["compartmentId"]).ocid)
    return Reply(headers={"etag": zone.etag})


@transition("zone.deleted")
def _deleted(world: World, ocid: str) -> None:
    world.set_state(KIND, ocid, "DELETED")
    world.clock.at(world.clock.now() + LINGERS, "zone.vanished", ocid=ocid)


@transition("zone.vanished")
def _vanished(world: World, ocid: str) -> None:
    world.table(KIND).pop(ocid, None)


def find_zone(call: Call) -> Resource:
    """The zone by its OCID, or by its name as long as it lives; 404 otherwise."""
    wanted = call.path["zoneNameOrId"]
    if call.query.get("scope") == "PRIVATE" or call.query.get("viewId"):
        raise errors.not_built("private zones")
    found = call.world.get(KIND, wanted)
    if found is None:
        name = record_data.canonical(wanted)
        found = next((one for one in call.world.all(KIND) if one.body["name"] == name and not one.gone), None)
    compartment = call.query.get("compartmentId")
    if found is None or compartment not in {None, found.body["compartmentId"]}:
        raise errors.not_found()
    return found


def edit_zone(call: Call) -> Resource:
    zone = find_zone(call)
    wanted = call.headers.get("if-match")
    if wanted not in {None, "*", zone.etag}:
        raise errors.no_etag_match(zone.etag)
    if zone.state != "ACTIVE":
        raise errors.incorrect_state(f"The zone {zone.body['name']} is {zone.state}, not ACTIVE")
    return zone


def own_records(zone: Resource) -> list[dict[str, Any]]:
    """The records of a new zone that nobody may change: its SOA and its name servers."""
    name, serial = zone.body["name"], zone.body["serial"]
    soa = f"{NAMESERVERS[0]}. hostmaster.{name}. {serial} 3600 600 604800 1800"
    rows = [("SOA", soa, 300), *(("NS", f"{one}.", 86400) for one in NAMESERVERS)]
    return [
        {"domain": name, "rtype": rtype, "rdata": rdata, "ttl": ttl, "isProtected": True, "rrsetVersion": "1"}
        for rtype, rdata, ttl in rows
    ]


def _refuse_unplayed(body: dict[str, Any]) -> None:
    for name, only in ONLY.items():
        if body.get(name, only) != only:
            raise errors.not_built(f"zones with {name} {body[name]}")
    if body.get("externalMasters") or body.get("externalDownstreams") or body.get("viewId"):
        raise errors.not_built("zone transfers and private views")
    if body.get("resolutionMode", "STATIC") != "STATIC":
        raise errors.invalid_parameter("resolutionMode of a public zone can only be STATIC")
