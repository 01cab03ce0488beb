"""DNS, records: read, replaced and patched for a whole zone, for one domain, or for one set of domain and type.

Every change gives the zone a new version and serial. All records of a set share one TTL, the last that was written.
"""

import hashlib
from collections.abc import Callable
from typing import Any

from ocifree_pipeline.sandbox.oracle import errors, pages, record_data
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service
from ocifree_pipeline.sandbox.oracle.zones import MODELS, ZONE, edit_zone, find_zone
from ocifree_pipeline.sandbox.world import Resource, World

RECORDS = f"{ZONE}/records"
DOMAIN = f"{RECORDS}/{{domain}}"
RRSET = f"{DOMAIN}/{{rtype}}"
LONGEST_TTL = 604_800
MATCHED = ("domain", "rtype", "rdata", "ttl", "isProtected", "rrsetVersion")
COLLECTION = f"{MODELS}.RecordCollection"

service = Service("dns")

Row = dict[str, Any]
Picks = Callable[[Row], bool]


@service.get(RECORDS, operation="GetZoneRecords", reply=COLLECTION)
def get_zone_records(call: Call) -> Reply:
    return _read(call)


@service.get(DOMAIN, operation="GetDomainRecords", reply=COLLECTION)
def get_domain_records(call: Call) -> Reply:
    return _read(call)


@service.get(RRSET, operation="GetRRSet", reply=f"{MODELS}.RRSet")
def get_rr_set(call: Call) -> Reply:
    return _read(call)


@service.put(RECORDS, operation="UpdateZoneRecords", body=f"{MODELS}.UpdateZoneRecordsDetails", reply=COLLECTION)
def update_zone_records(call: Call) -> Reply:
    return _replace(call)


@service.put(DOMAIN, operation="UpdateDomainRecords", body=f"{MODELS}.UpdateDomainRecordsDetails", reply=COLLECTION)
def update_domain_records(call: Call) -> Reply:
    return _replace(call)


@service.put(RRSET, operation="UpdateRRSet", body=f"{MODELS}.UpdateRRSetDetails", reply=COLLECTION)
def update_rr_set(call: Call) -> Reply:
    return _replace(call)


@service.patch(RECORDS, operation="PatchZoneRecords", body=f"{MODELS}.PatchZoneRecordsDetails", reply=COLLECTION)
def patch_zone_records(call: Call) -> Reply:
    return _patch(call)


@service.patch(DOMAIN, operation="PatchDomainRecords", body=f"{MODELS}.PatchDomainRecordsDetails", reply=COLLECTION)
def patch_domain_records(call: Call) -> Reply:
    return _patch(call)


@service.patch(RRSET, operation="PatchRRSet", body=f"{MODELS}.PatchRRSetDetails", reply=COLLECTION)
def patch_rr_set(call: Call) -> Reply:
    return _patch(call)


@service.delete(DOMAIN, operation="DeleteDomainRecords")
def delete_domain_records(call: Call) -> Reply:
    return _delete(call)


@service.delete(RRSET, operation="DeleteRRSet")
def delete_rr_set(call: Call) -> Reply:
    return _delete(call)


@service.get(f"{ZONE}/content", operation="GetZoneContent")
def get_zone_content(call: Call) -> Reply:
    """The zone as a text in the form of RFC 1035."""
    zone = find_zone(call)
    lines = [f"$ORIGIN {zone.body['name']}."]
    lines += [f"{one['domain']}. {one['ttl']} IN {one['rtype']} {one['rdata']}" for one in zone.hidden["records"]]
    return Reply("\n".join([*lines, ""]).encode(), headers={"etag": zone.etag, "content-type": "text/dns"})


def _read(call: Call) -> Reply:
    zone = find_zone(call)
    if call.headers.get("if-none-match") == zone.etag:
        raise errors.not_modified(zone.etag)
    picks = _scope(call)
    exact = {name: call.query.get(name) for name in ("domain", "rtype")}
    part = (call.query.get("domainContains") or "").lower()
    found = [
        _shown(one)
        for one in zone.hidden["records"]
        if picks(one)
        and part in one["domain"]
        and exact["domain"] in {None, one["domain"], one["domain"] + "."}
        and exact["rtype"] in {None, one["rtype"]}
    ]
    by, order = call.query.get("sortBy"), call.query.get("sortOrder") or "ASC"
    if by is not None:
        if by not in {"domain", "rtype", "ttl"}:
            raise errors.invalid_parameter("sortBy must be domain, rtype or ttl")
        found.sort(key=lambda one: (one[by] if by == "ttl" else 0, str(one[by])), reverse=order == "DESC")
    page = pages.page(call, found, id_key="recordHash")
    return Reply({"items": page.body}, headers=page.headers | {"etag": zone.etag})


def _replace(call: Call) -> Reply:
    """What the client sends becomes all there is in the scope, but for the zone's own records."""
    zone = edit_zone(call)
    picks = _scope(call)
    records = [one for one in zone.hidden["records"] if one["isProtected"] or not picks(one)]
    for item in call.body.get("items", ()):
        row = _row(call, zone, item)
        if not any(one["isProtected"] and _same(one, row) for one in records):
            _add(records, row)
    return _commit(call, zone, records)


def _patch(call: Call) -> Reply:
    """Operations one after the other; all of them or none."""
    zone = edit_zone(call)
    records = [dict(one) for one in zone.hidden["records"]]
    for item in call.body.get("items", ()):
        operation = item.get("operation", "ADD")
        if operation == "ADD":
            for name in ("ttl", "rdata"):
                if name not in item:
                    raise errors.missing_parameter(f"items.{name}")
            _add(records, _row(call, zone, item))
            continue
        matching = [one for one in records if _matches(call, one, item)]
        if operation == "REQUIRE" and not matching:
            raise errors.conflict(f"There is no record like {_described(item)}")
        if operation == "PROHIBIT" and matching:
            raise errors.conflict(f"There is a record like {_described(item)}")
        if operation == "REMOVE":
            _require_unprotected(matching)
            records = [one for one in records if one not in matching]
    return _commit(call, zone, records)


def _delete(call: Call) -> Reply:
    zone = edit_zone(call)
    picks = _scope(call)
    matching = [one for one in zone.hidden["records"] if picks(one) and not one["isProtected"]]
    if not matching:
        _require_unprotected([one for one in zone.hidden["records"] if picks(one)])
        raise errors.not_found()
    _commit(call, zone, [one for one in zone.hidden["records"] if one not in matching])
    return Reply()


def _scope(call: Call) -> Picks:
    """Which records the address of the request is about."""
    domain, rtype = call.path.get("domain"), call.path.get("rtype")
    name = record_data.canonical(domain) if domain else None
    return lambda one: name in {None, one["domain"]} and rtype in {None, one["rtype"]}


def _row(call: Call, zone: Resource, item: Row) -> Row:
    """A record as it is kept, or 400."""
    domain = record_data.canonical(item.get("domain") or call.path.get("domain") or "")
    rtype = str(item.get("rtype") or call.path.get("rtype") or "").upper()
    row = {"domain": domain, "rtype": rtype}
    if not _scope(call)(row):
        raise errors.invalid_parameter(f"The record {domain} {rtype} does not belong to the address of the request")
    name = zone.body["name"]
    if not record_data.is_name(domain) or (domain != name and not domain.endswith(f".{name}")):
        raise errors.invalid_parameter(f"The domain {domain!r} is not in the zone {name}")
    if not 1 <= item["ttl"] <= LONGEST_TTL:
        raise errors.invalid_parameter(f"ttl must be from 1 to {LONGEST_TTL} seconds")
    try:
        rdata = record_data.normalised(rtype, item["rdata"])
    except record_data.BadData as error:
        raise errors.invalid_parameter(f"rdata of {domain} {rtype}: {error}") from error
    return row | {"rdata": rdata, "ttl": item["ttl"], "isProtected": False, "rrsetVersion": ""}


def _add(records: list[Row], row: Row) -> None:
    existing = [one for one in records if (one["domain"], one["rtype"]) == (row["domain"], row["rtype"])]
    _require_unprotected([one for one in existing if one["isProtected"] and row["rtype"] == "SOA"])
    for one in existing:
        if not one["isProtected"]:
            one["ttl"] = row["ttl"]
    if not any(one["rdata"] == row["rdata"] for one in existing):
        records.append(row)


def _commit(call: Call, zone: Resource, records: list[Row]) -> Reply:
    """Check the rules that hold between records, then make them those of the zone."""
    _require_lonely_aliases(zone, records)
    before = {(one["domain"], one["rtype"], one["rdata"], one["ttl"]) for one in zone.hidden["records"]}
    after = {(one["domain"], one["rtype"], one["rdata"], one["ttl"]) for one in records}
    if before != after:
        _bump(call.world, zone, records, {(one[0], one[1]) for one in before ^ after})
    items = [_shown(one) for one in zone.hidden["records"] if _scope(call)(one)]
    return Reply({"items": items}, headers={"etag": zone.etag, "opc-total-items": str(len(items))})


def _bump(world: World, zone: Resource, records: list[Row], changed: set[tuple[str, str]]) -> None:
    serial = zone.body["serial"] + 1
    for one in records:
        if one["rtype"] == "SOA":
            fields = one["rdata"].split()
            one["rdata"] = " ".join([*fields[:2], str(serial), *fields[3:]])
        if (one["domain"], one["rtype"]) in changed or one["rtype"] == "SOA":
            one["rrsetVersion"] = str(serial)
    zone.hidden["records"] = records
    world.change(zone, serial=serial, version=str(serial))


def _require_lonely_aliases(zone: Resource, records: list[Row]) -> None:
    """Beside a CNAME there is nothing else, not even a second one, and at the top of a zone there is none."""
    by_domain: dict[str, list[str]] = {}
    for one in records:
        by_domain.setdefault(one["domain"], []).append(one["rtype"])
    for domain, rtypes in by_domain.items():
        if "CNAME" in rtypes and (len(rtypes) > 1 or domain == zone.body["name"]):
            raise errors.invalid_parameter(f"A CNAME record at {domain} cannot exist beside other records")


def _require_unprotected(records: list[Row]) -> None:
    for one in records:
        if one["isProtected"]:
            raise errors.invalid_parameter(f"The record {one['domain']} {one['rtype']} is protected")


def _matches(call: Call, one: Row, item: Row) -> bool:
    wanted: Row = {name: item[name] for name in MATCHED if name in item}
    if "domain" in wanted:
        wanted["domain"] = record_data.canonical(wanted["domain"])
    if "rtype" in wanted:
        wanted["rtype"] = wanted["rtype"].upper()
    if "rdata" in wanted:
        try:
            wanted["rdata"] = record_data.normalised(one["rtype"], wanted["rdata"])
        except record_data.BadData:
            return False
    if item.get("recordHash") not in {None, _hash(one)}:
        return False
    return _scope(call)(one) and wanted.items() <= one.items()


def _same(one: Row, other: Row) -> bool:
    """Clients send back the zone's own records as they were, SOA with an older serial."""
    compared = ("domain", "rtype") if one["rtype"] == "SOA" else ("domain", "rtype", "rdata")
    return all(one[name] == other[name] for name in compared)


def _described(item: Row) -> str:
    return ", ".join(f"{name} {value}" for name, value in item.items() if name != "operation")


def _hash(one: Row) -> str:
    text = f"{one['domain']}/{one['rtype']}/{one['rdata']}"
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _shown(one: Row) -> Row:
    return one | {"recordHash": _hash(one)}
