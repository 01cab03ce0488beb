"""A zone of the user's own, and the address records in it that point at reserved addresses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ocifree_pipeline.deployment.convergence import Found
from ocifree_pipeline.deployment.errors import Forbidden
from ocifree_pipeline.systems.oci.errors import told
from ocifree_pipeline.systems.oci.foundation.kinds import Kind, Plain, Scope
from ocifree_pipeline.systems.oci.session import every, reading

SECONDS_TO_LIVE = 300


class _Zones(Plain):
    def list_arguments(self, place: str) -> dict[str, Any]:
        return {"compartment_id": place, "scope": "GLOBAL"}

    def found(self, scope: Scope, thing: Any) -> Found:
        if scope.is_ours(thing) and not hasattr(thing, "nameservers"):  # a list leaves them out
            with told(f"read the zone {thing.name}"):
                thing = self._client(scope).get_zone(thing.id, retry_strategy=reading()).data
        servers = tuple(server.hostname for server in getattr(thing, "nameservers", None) or ())
        return Found(
            thing.id,
            thing.name,
            scope.is_ours(thing),
            thing.lifecycle_state,
            {"zone_type": thing.zone_type},
            {"nameservers": servers},
            dict(thing.freeform_tags or {}),
        )

    def update(self, scope: Scope, found: Found, changes: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        # A zone has nothing that could be renamed; only its tags can be put back.
        with told(f"change the zone {found.name}"):
            self._client(scope).update_zone(
                found.id, self.sdk_model("UpdateZoneDetails", {"freeform_tags": dict(tags)})
            )


ZONE = _Zones("dns_zone", "dns.DnsClient", "zone", "zones", "Zone", name_field="name")


class _Records(Kind):
    """One A record set of one of our zones. It has no tags: being in our zone makes it ours to set."""

    name = "dns_record"

    def list(self, scope: Scope) -> Iterator[Found]:
        for zone in ZONE.list(scope):
            if not zone.is_ours:
                continue
            with told(f"list the records of {zone.name}"):
                # The SDK gathers the pages of records into a collection, not into a list as everywhere else.
                records: Any = every(_client(scope).get_zone_records, zone.id, rtype="A")
            by_domain: dict[str, list[Any]] = {}
            for record in records.items:
                by_domain.setdefault(record.domain, []).append(record)
            for domain, some in by_domain.items():
                yield _found(zone.id, domain, some)

    def read(self, scope: Scope, found_id: str) -> Found | None:
        zone, domain = found_id.split("/")
        try:
            with told(f"read the record {domain}"):
                answer = _client(scope).get_rr_set(zone, domain, "A", retry_strategy=reading()).data
        except Forbidden:
            return None
        return _found(zone, domain, answer.items) if answer.items else None

    def create(self, scope: Scope, name: str, values: Mapping[str, Any], tags: Mapping[str, str], token: str) -> str:
        self._put(scope, values["zone_id"], name, values["address"])
        return f"{values['zone_id']}/{name}"

    def update(self, scope: Scope, found: Found, changes: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        if "address" in changes:
            self._put(scope, found.values["zone_id"], found.name, changes["address"])

    def delete(self, scope: Scope, found: Found) -> None:
        try:
            with told(f"delete the record {found.name}"):
                _client(scope).delete_rr_set(found.values["zone_id"], found.name, "A")
        except Forbidden:
            if self.read(scope, found.id) is not None:
                raise

    def _put(self, scope: Scope, zone: str, domain: str, address: str) -> None:
        from oci.dns.models import RecordDetails, UpdateRRSetDetails

        record = RecordDetails(domain=domain, rtype="A", rdata=address, ttl=SECONDS_TO_LIVE)
        with told(f"point {domain} at {address}"):
            _client(scope).update_rr_set(zone, domain, "A", UpdateRRSetDetails(items=[record]))


def _found(zone: str, domain: str, records: list[Any]) -> Found:
    addresses = sorted(record.rdata for record in records)
    # More than one address is a change that somebody made; it must not look like ours.
    return Found(f"{zone}/{domain}", domain, is_ours=True, values={"zone_id": zone, "address": ", ".join(addresses)})


def _client(scope: Scope) -> Any:
    return scope.session.client("dns.DnsClient")


RECORD = _Records()
