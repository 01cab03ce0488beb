"""The unmodified SDK against DNS: zones, and records by zone, by domain and by set."""

import oci
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from oci.dns import models

from ocifree_pipeline.sandbox.oracle.record_data import BadData, normalised
from ocifree_pipeline_tests.conformance.test_limits import refused
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox

ZONE = "example.com"


@pytest.fixture
def dns(sandbox: RunningSandbox) -> oci.dns.DnsClient:
    return sandbox.client(oci.dns.DnsClient)


@pytest.fixture
def zone(sandbox, dns) -> str:
    made = create(sandbox, dns).id
    dns.get_zone(made)
    return made


def create(sandbox, dns, name: str = ZONE, **fields):
    details = models.CreateZoneDetails(name=name, compartment_id=sandbox.tenancy, **fields)
    return dns.create_zone(details).data


def record(domain: str, rtype: str, rdata: str, ttl: int = 300):
    return models.RecordDetails(domain=domain, rtype=rtype, rdata=rdata, ttl=ttl)


def change(operation: str, domain: str, rtype: str, rdata: str | None = None, ttl: int | None = None):
    return models.RecordOperation(operation=operation, domain=domain, rtype=rtype, rdata=rdata, ttl=ttl)


def own(items):
    return sorted((one.domain, one.rtype, one.rdata, one.ttl) for one in items if not one.is_protected)


def test_the_life_of_a_zone(sandbox, dns):
    made = create(sandbox, dns, "Example.COM.", freeform_tags={"by": "tests"})
    assert (made.name, made.zone_type, made.scope, made.lifecycle_state) == (ZONE, "PRIMARY", "GLOBAL", "CREATING")
    assert len(made.nameservers) == 4
    active = oci.wait_until(dns, dns.get_zone(made.id), "lifecycle_state", "ACTIVE")
    assert dns.get_zone(ZONE).data.id == made.id
    with pytest.raises(oci.exceptions.ServiceError, check=lambda error: error.status == 304):
        dns.get_zone(ZONE, if_none_match=active.headers["etag"])
    update = models.UpdateZoneDetails(freeform_tags={"by": "others"})
    assert dns.update_zone(made.id, update, if_match=active.headers["etag"]).data.freeform_tags == {"by": "others"}
    with refused(412, "NoEtagMatch"):
        dns.update_zone(made.id, update, if_match=active.headers["etag"])
    with refused(409, "Conflict"):
        create(sandbox, dns)
    other = create(sandbox, dns, "other.org")
    tenancy = sandbox.tenancy
    assert [one.name for one in dns.list_zones(tenancy).data] == [ZONE, "other.org"]
    assert [one.id for one in dns.list_zones(tenancy, name_contains="other").data] == [other.id]
    assert [one.name for one in dns.list_zones(tenancy, sort_order="DESC", limit=1).data] == ["other.org"]
    dns.delete_zone(made.id)
    assert dns.get_zone(made.id).data.lifecycle_state == "DELETED"
    with refused(404, "NotAuthorizedOrNotFound"):
        dns.get_zone(ZONE)
    assert create(sandbox, dns).id != made.id


def test_a_deleted_zone_vanishes(manual):
    dns = manual.client(oci.dns.DnsClient)
    made = create(manual, dns)
    with refused(409, "IncorrectState"):
        dns.delete_zone(made.id)
    manual.advance(5)
    dns.delete_zone(made.id)
    assert dns.get_zone(made.id).data.lifecycle_state == "DELETING"
    manual.advance(3700)
    with refused(404, "NotAuthorizedOrNotFound"):
        dns.get_zone(made.id)


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"name": "com"}, (400, "InvalidParameter", "not a domain that can be a zone")),
        ({"name": "two words.com"}, (400, "InvalidParameter", "not a domain that can be a zone")),
        ({"zone_type": "SECONDARY"}, (501, "MethodNotImplemented", "zones with zoneType SECONDARY")),
        ({"scope": "PRIVATE"}, (501, "MethodNotImplemented", "zones with scope PRIVATE")),
        ({"dnssec_state": "ENABLED"}, (501, "MethodNotImplemented", "dnssecState")),
    ],
)
def test_refused_zones(sandbox, dns, fields, refusal):
    with refused(*refusal):
        create(sandbox, dns, **fields)


def test_a_new_zone_has_its_own_records(dns, zone):
    items = dns.get_zone_records(zone).data.items
    assert sorted(one.rtype for one in items) == ["NS"] * 4 + ["SOA"]
    assert all(one.is_protected and one.record_hash for one in items)


def test_patching_a_zone(dns, zone):
    before = dns.get_zone(zone)

    def patch(*items, **options):
        details = models.PatchZoneRecordsDetails(items=list(items))
        return dns.patch_zone_records(zone, details, **options)

    patch(
        change("ADD", "www.example.com", "A", "192.0.2.1", 300),
        change("ADD", "www.example.com", "A", "192.0.2.2", 60),
        change("ADD", "example.com", "TXT", "v=spf1 -all", 300),
        change("PROHIBIT", "www.example.com", "CNAME"),
        if_match=before.headers["etag"],
    )
    after = dns.get_zone_records(zone)
    assert own(after.data.items) == [
        ("example.com", "TXT", '"v=spf1 -all"', 300),
        ("www.example.com", "A", "192.0.2.1", 60),
        ("www.example.com", "A", "192.0.2.2", 60),
    ]
    now = dns.get_zone(zone).data
    assert now.serial == before.data.serial + 1
    soa = next(one for one in after.data.items if one.rtype == "SOA")
    assert soa.rdata.split()[2] == str(now.serial)
    with refused(412, "NoEtagMatch"):
        patch(change("REMOVE", "www.example.com", "A"), if_match=before.headers["etag"])
    with refused(409, "Conflict", "There is no record like"):
        patch(change("REMOVE", "www.example.com", "A"), change("REQUIRE", "example.com", "MX"))
    assert len(own(dns.get_zone_records(zone).data.items)) == 3, "all operations or none"
    gone = next(one.record_hash for one in after.data.items if one.rdata == "192.0.2.1")
    patch(models.RecordOperation(operation="REMOVE", record_hash=gone))
    patch(change("REMOVE", "www.example.com", "A", "192.0.2.2"))
    assert own(dns.get_zone_records(zone).data.items) == [("example.com", "TXT", '"v=spf1 -all"', 300)]
    same = dns.get_zone(zone).data.serial
    patch(change("REMOVE", "www.example.com", "A", "192.0.2.2"))
    assert dns.get_zone(zone).data.serial == same, "what changes nothing makes no new version"


def test_replacing_a_zone_keeps_its_own_records(dns, zone):
    def put(*items):
        return dns.update_zone_records(zone, models.UpdateZoneRecordsDetails(items=list(items))).data.items

    put(record("a.example.com", "A", "192.0.2.1"))
    everything = dns.get_zone_records(zone).data.items
    kept = [record(one.domain, one.rtype, one.rdata, one.ttl) for one in everything if one.is_protected]
    put(*kept, record("b.example.com", "AAAA", "2001:DB8:0::1"))
    items = dns.get_zone_records(zone).data.items
    assert own(items) == [("b.example.com", "AAAA", "2001:db8::1", 300)]
    assert sum(one.is_protected for one in items) == 5


def test_sets_and_domains(dns, zone):
    name = "www.example.com"

    def put(*items):
        return dns.update_rr_set(zone, name, "A", models.UpdateRRSetDetails(items=list(items))).data.items

    assert dns.get_rr_set(zone, name, "A").data.items == []
    assert own(put(record(name, "A", "192.0.2.1"))) == [(name, "A", "192.0.2.1", 300)]
    assert own(put(record(name, "A", "192.0.2.2", 60))) == [(name, "A", "192.0.2.2", 60)]
    details = models.UpdateDomainRecordsDetails(items=[record(name, "TXT", "x"), record(name, "A", "192.0.2.3")])
    dns.update_domain_records(ZONE, name, details)
    assert [one[1] for one in own(dns.get_domain_records(zone, name).data.items)] == ["A", "TXT"]
    dns.patch_rr_set(zone, name, "A", models.PatchRRSetDetails(items=[change("ADD", name, "A", "192.0.2.4", 30)]))
    assert [one[2] for one in own(dns.get_rr_set(zone, name, "A").data.items)] == ["192.0.2.3", "192.0.2.4"]
    with refused(400, "InvalidParameter", "does not belong to the address of the request"):
        put(record("other.example.com", "A", "192.0.2.1"))
    assert b"www.example.com. 300 IN TXT" in dns.get_zone_content(zone).data.content
    dns.delete_rr_set(zone, name, "A")
    assert [one[1] for one in own(dns.get_domain_records(zone, name).data.items)] == ["TXT"]
    dns.delete_domain_records(zone, name)
    with refused(404, "NotAuthorizedOrNotFound"):
        dns.delete_domain_records(zone, name)
    with refused(400, "InvalidParameter", "is protected"):
        dns.delete_rr_set(zone, "example.com", "SOA")


def test_reading_with_filters_and_pages(dns, zone):
    items = [change("ADD", f"h{number}.example.com", "A", f"192.0.2.{number}", number) for number in range(1, 8)]
    dns.patch_zone_records(zone, models.PatchZoneRecordsDetails(items=items))
    assert len(dns.get_zone_records(zone, rtype="A").data.items) == 7
    assert [one.domain for one in dns.get_zone_records(zone, domain_contains="h3").data.items] == ["h3.example.com"]
    assert len(dns.get_zone_records(zone, domain="example.com").data.items) == 5
    by_ttl = dns.get_zone_records(zone, rtype="A", sort_by="ttl", sort_order="DESC").data.items
    assert [one.ttl for one in by_ttl] == [7, 6, 5, 4, 3, 2, 1]
    first = dns.get_zone_records(zone, rtype="A", limit=4)
    second = dns.get_zone_records(zone, rtype="A", limit=4, page=first.next_page)
    assert (len(first.data.items), len(second.data.items), second.next_page) == (4, 3, None)
    with pytest.raises(oci.exceptions.ServiceError, check=lambda error: error.status == 304):
        dns.get_zone_records(zone, if_none_match=first.headers["etag"])


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (change("ADD", "www.other.com", "A", "192.0.2.1", 300), "is not in the zone example.com"),
        (change("ADD", "badexample.com", "A", "192.0.2.1", 300), "is not in the zone example.com"),
        (change("ADD", "www.example.com", "A", "192.0.2.256", 300), "'192.0.2.256' is not an IPv4 address"),
        (change("ADD", "www.example.com", "AAAA", "192.0.2.1", 300), "is not an IPv6 address"),
        (change("ADD", "www.example.com", "XYZ", "x", 300), "'XYZ' is not a type of record"),
        (change("ADD", "www.example.com", "MX", "mail.example.com", 300), "is not written as: preference target"),
        (change("ADD", "www.example.com", "A", "192.0.2.1", 0), "ttl must be from 1 to 604800"),
        (change("ADD", "www.example.com", "A", "192.0.2.1"), "items.ttl is required"),
        (change("ADD", "example.com", "CNAME", "other.org", 300), "cannot exist beside other records"),
        (change("ADD", "example.com", "SOA", "a b 1 1 1 1 1", 300), "is protected"),
        (change("REMOVE", "example.com", "NS"), "is protected"),
    ],
)
def test_refused_records(dns, zone, item, message):
    with pytest.raises(
        oci.exceptions.ServiceError, check=lambda error: error.status == 400 and message in error.message
    ):
        dns.patch_zone_records(zone, models.PatchZoneRecordsDetails(items=[item]))
    assert own(dns.get_zone_records(zone).data.items) == []


def test_an_alias_is_alone(dns, zone):
    def patch(*items):
        dns.patch_zone_records(zone, models.PatchZoneRecordsDetails(items=list(items)))

    patch(change("ADD", "www.example.com", "CNAME", "Target.ORG", 300))
    assert own(dns.get_zone_records(zone).data.items) == [("www.example.com", "CNAME", "target.org.", 300)]
    for other in (("A", "192.0.2.1"), ("CNAME", "second.org")):
        with refused(400, "InvalidParameter", "cannot exist beside other records"):
            patch(change("ADD", "www.example.com", *other, 300))
    patch(
        change("REMOVE", "www.example.com", "CNAME"),
        change("ADD", "www.example.com", "A", "192.0.2.1", 300),
    )


@pytest.mark.parametrize(
    ("rtype", "given", "kept"),
    [
        ("MX", "10 Mail.Example.com", "10 mail.example.com."),
        ("SRV", "1 2 443 host.example.com.", "1 2 443 host.example.com."),
        ("SRV", "0 0 0 .", "0 0 0 ."),
        ("CAA", "0 issue letsencrypt.org", '0 issue "letsencrypt.org"'),
        ("TXT", '"two" "parts"', '"two" "parts"'),
        ("TXT", 'a "quoted" word', r'"a \"quoted\" word"'),
        ("NS", "ns.example.com", "ns.example.com."),
        ("TLSA", "3 1 1 abcdef", "3 1 1 abcdef"),
    ],
)
def test_data_in_its_normal_form(rtype, given, kept):
    assert normalised(rtype, given) == kept
    assert normalised(rtype, kept) == kept


@given(st.sampled_from(["A", "AAAA", "CAA", "CNAME", "MX", "SRV", "TXT", "ALIAS"]), st.text(max_size=40))
@example("TXT", "\\")
@example("TXT", 'a\\"b"')
@example("TXT", '"a\\\n"')
def test_normal_forms_are_stable(rtype, text):
    try:
        kept = normalised(rtype, text)
    except BadData:
        return
    assert normalised(rtype, kept) == kept
