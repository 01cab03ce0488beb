"""The native engine against a tenancy: it makes, leaves alone, repairs in place, refuses to replace, and takes down."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network
from typing import Any

import pytest
from oci.core import models as core
from oci.dns import models as dns
from oci.identity import models as identity

from ocifree_pipeline.deployment.convergence import CannotChange
from ocifree_pipeline.deployment.errors import Conflict, PreconditionMissing
from ocifree_pipeline.deployment.foundation import FoundationSpec, Part, foundation_of
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.systems.oci.foundation.native import NativeFoundation
from ocifree_pipeline.systems.oci.foundation.teardown import tear_down, what_stands
from ocifree_pipeline.systems.oci.limits import DEPLOYMENT_TAG
from ocifree_pipeline_tests.deployment.declared import declared
from ocifree_pipeline_tests.systems.oci.foundation.conftest import native
from ocifree_pipeline_tests.systems.oci.tenancy import Tenancy

Fresh = Callable[[], NativeFoundation]
PARTS: tuple[Part, ...] = ("network", "reserved_ips", "image_bucket")


def make(foundation: NativeFoundation, *parts: Part) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for part in parts or PARTS:
        made |= foundation.apply(foundation.plan(part))
    return made


@pytest.fixture
def network(tenancy: Tenancy) -> Any:
    return tenancy.session.client("core.VirtualNetworkClient")


def test_it_makes_what_the_spec_says(tenancy: Tenancy, foundation: Fresh, spec: FoundationSpec, network: Any) -> None:
    made = make(foundation())
    assert network.get_vcn(made["vcn"].id).data.cidr_blocks == ["10.0.0.0/16"]
    public = network.get_subnet(made["subnet/public"].id).data
    private = network.get_subnet(made["subnet/private"].id).data
    assert (public.prohibit_public_ip_on_vnic, private.prohibit_public_ip_on_vnic) == (False, True)
    routes = network.get_route_table(public.route_table_id).data.route_rules
    assert [(rule.destination, rule.network_entity_id) for rule in routes] == [
        ("0.0.0.0/0", made["internet_gateway"].id)
    ]
    assert network.get_route_table(private.route_table_id).data.route_rules == []
    assert set(spec.reserved_ips) == {"ingress", "bastion"}
    assert made["reserved_ip/ingress"].attribute("address") != made["reserved_ip/bastion"].attribute("address")
    bucket = tenancy.session.client("object_storage.ObjectStorageClient")
    kept = bucket.get_bucket(made["bucket"].attribute("namespace"), "lab-images").data
    assert (kept.public_access_type, kept.versioning) == ("NoPublicAccess", "Disabled")
    assert tenancy.journal().open_intents() == []


def test_the_outside_reaches_three_ports_and_no_more(tenancy: Tenancy, foundation: Fresh, network: Any) -> None:
    made = make(foundation(), "network")
    rules = [
        rule
        for group in ("ssh", "web", "inside")
        for rule in network.list_network_security_group_security_rules(made[f"group/{group}"].id).data
    ]
    vcn = network.get_vcn(made["vcn"].id).data
    rules += network.get_security_list(vcn.default_security_list_id).data.ingress_security_rules
    outside = [rule for rule in rules if rule.source == "0.0.0.0/0"]
    opened = {
        (rule.tcp_options.destination_port_range.min, rule.tcp_options.destination_port_range.max)
        for rule in outside
        if rule.protocol == "6"
    }
    assert opened == {(22, 22), (80, 80), (443, 443)}
    icmp = [(rule.icmp_options.type, rule.icmp_options.code) for rule in outside if rule.protocol == "1"]
    assert icmp == [(3, 4)]
    assert {rule.protocol for rule in outside} == {"1", "6"}


def test_a_second_run_changes_nothing(tenancy: Tenancy, foundation: Fresh) -> None:
    make(foundation())
    tenancy.sandbox.recorder.clear()
    again = foundation()
    assert all(again.plan(part).lines == () for part in PARTS)
    make(again)
    assert tenancy.mutating_calls() == []


def test_other_peoples_things_stay_as_they_are(tenancy: Tenancy, foundation: Fresh, network: Any) -> None:
    compartment = make(foundation())["compartment"].id
    tags = {DEPLOYMENT_TAG: "other", "ocifree-key": "vcn"}
    for name, labels in (("theirs", {}), ("lab-vcn", tags)):
        network.create_vcn(
            core.CreateVcnDetails(
                cidr_blocks=["10.9.0.0/16"], compartment_id=compartment, display_name=name, freeform_tags=labels
            )
        )
    network.create_public_ip(
        core.CreatePublicIpDetails(compartment_id=compartment, lifetime="RESERVED", display_name="theirs")
    )
    tenancy.sandbox.advance(60)
    before = tenancy.in_words()
    tenancy.sandbox.recorder.clear()
    make(foundation())
    assert tenancy.mutating_calls() == []
    assert tenancy.in_words() == before
    left = tear_down(tenancy.session, "lab", "lab", clock=tenancy.clock)
    assert [one.kind for one in left] == ["compartment"]
    assert {vcn.display_name for vcn in network.list_vcns(compartment).data if vcn.lifecycle_state == "AVAILABLE"} == {
        "theirs",
        "lab-vcn",
    }


def rename_vcn(network: Any, made: Any) -> None:
    network.update_vcn(made["vcn"].id, core.UpdateVcnDetails(display_name="mine"))


def remove_rule(network: Any, made: Any) -> None:
    group = made["group/inside"].id
    rules = network.list_network_security_group_security_rules(group).data
    gone = next(rule.id for rule in rules if rule.udp_options and rule.udp_options.destination_port_range.min == 5405)
    network.remove_network_security_group_security_rules(
        group, core.RemoveNetworkSecurityGroupSecurityRulesDetails(security_rule_ids=[gone])
    )


def add_rule(network: Any, made: Any) -> None:
    rule = core.AddSecurityRuleDetails(
        direction="INGRESS", protocol="6", source="0.0.0.0/0", tcp_options=core.TcpOptions(
            destination_port_range=core.PortRange(min=3389, max=3389)))  # fmt: skip
    network.add_network_security_group_security_rules(
        made["group/ssh"].id, core.AddNetworkSecurityGroupSecurityRulesDetails(security_rules=[rule])
    )


def disable_gateway(network: Any, made: Any) -> None:
    network.update_internet_gateway(made["internet_gateway"].id, core.UpdateInternetGatewayDetails(is_enabled=False))


def empty_routes(network: Any, made: Any) -> None:
    network.update_route_table(made["route_table/public"].id, core.UpdateRouteTableDetails(route_rules=[]))


def open_default_list(network: Any, made: Any) -> None:
    everything = core.IngressSecurityRule(protocol="all", source="0.0.0.0/0")
    network.update_security_list(
        made["security_list"].id, core.UpdateSecurityListDetails(ingress_security_rules=[everything])
    )


def lose_tags(network: Any, made: Any) -> None:
    network.update_vcn(made["vcn"].id, core.UpdateVcnDetails(freeform_tags={"team": "x"}))


def wrong_route_table(network: Any, made: Any) -> None:
    network.update_subnet(
        made["subnet/public"].id, core.UpdateSubnetDetails(route_table_id=made["route_table/private"].id)
    )


DRIFT: list[tuple[Callable[[Any, Any], None], str]] = [
    (rename_vcn, "change vcn lab-vcn: name: mine -> lab-vcn"),
    (remove_rule, "change security group lab-inside: rules: + udp 5405-5412 from group/inside"),
    (add_rule, "change security group lab-ssh: rules: - tcp 3389 from 0.0.0.0/0"),
    (disable_gateway, "change internet gateway lab-internet: is_enabled: False -> True"),
    (empty_routes, "change route table lab-public: routes: + 0.0.0.0/0 through internet_gateway"),
    (open_default_list, "change security list lab-every-machine: ingress: + icmp type 3 code 4 from 0.0.0.0/0"),
    (lose_tags, "take over vcn lab-vcn"),
    (wrong_route_table, "change subnet lab-public: route_table_id: route_table/private -> route_table/public"),
]


@pytest.mark.parametrize(("meddle", "line"), DRIFT, ids=[meddle.__name__ for meddle, _ in DRIFT])
def test_what_was_changed_behind_our_back_is_named_and_repaired_in_place(
    tenancy: Tenancy, foundation: Fresh, network: Any, meddle: Callable[[Any, Any], None], line: str
) -> None:
    made = make(foundation(), "network")
    before = tenancy.in_words()
    meddle(network, made)
    plan = foundation().plan("network")
    assert [one for one in plan.lines if one.startswith(line)], plan.lines
    again = foundation()
    repaired = again.apply(again.plan("network"))
    assert {role: one.id for role, one in repaired.items()} == {role: one.id for role, one in made.items()}
    after = tenancy.in_words()
    assert [one.replace(', "team": "x"', "") for one in after] == before


def test_a_deleted_part_is_made_again_and_what_leaned_on_it_follows(
    tenancy: Tenancy, foundation: Fresh, network: Any
) -> None:
    made = make(foundation(), "network")
    before = tenancy.in_words()
    network.update_route_table(made["route_table/public"].id, core.UpdateRouteTableDetails(route_rules=[]))
    network.delete_internet_gateway(made["internet_gateway"].id)
    lines = foundation().plan("network").lines
    assert "create internet gateway lab-internet: is_enabled True" in lines
    make(foundation(), "network")
    assert tenancy.in_words() == before


def test_what_cannot_change_is_never_replaced(tenancy: Tenancy, foundation: Fresh, spec: FoundationSpec) -> None:
    make(foundation())
    moved = dataclasses.replace(spec, vcn_cidr=IPv4Network("10.1.0.0/16"))
    tenancy.sandbox.recorder.clear()
    with pytest.raises(CannotChange, match=r"vcn lab-vcn .* cidr_blocks") as caught:
        native(tenancy, moved).plan("network")
    assert "put the old value back" in caught.value.fix
    assert tenancy.mutating_calls() == []


def test_a_bucket_of_that_name_that_is_not_ours_stops_us(tenancy: Tenancy, foundation: Fresh) -> None:
    from oci.object_storage.models import CreateBucketDetails

    make(foundation(), "network")
    compartment = tenancy.sandbox.inside(
        lambda world: next(one.ocid for one in world.all("compartment") if one.body["name"] == "lab")
    )
    client = tenancy.session.client("object_storage.ObjectStorageClient")
    client.create_bucket(
        client.get_namespace().data, CreateBucketDetails(name="lab-images", compartment_id=compartment)
    )
    with pytest.raises(Conflict, match="bucket lab-images exists already, and this deployment did not make it"):
        foundation().plan("image_bucket")


def test_a_bucket_of_that_name_elsewhere_stops_us_too(tenancy: Tenancy, foundation: Fresh) -> None:
    from oci.object_storage.models import CreateBucketDetails

    client = tenancy.session.client("object_storage.ObjectStorageClient")
    client.create_bucket(
        client.get_namespace().data, CreateBucketDetails(name="lab-images", compartment_id=tenancy.session.tenancy)
    )
    with pytest.raises(Conflict, match="make the bucket lab-images: Oracle answered 409"):
        make(foundation(), "image_bucket")
    assert tenancy.journal().open_intents() == []


def test_two_of_the_same_are_named(tenancy: Tenancy, foundation: Fresh, network: Any) -> None:
    made = make(foundation(), "network", "reserved_ips")
    one = network.get_public_ip(made["reserved_ip/ingress"].id).data
    twin = network.create_public_ip(
        core.CreatePublicIpDetails(
            compartment_id=one.compartment_id, lifetime="RESERVED", freeform_tags=one.freeform_tags
        )
    ).data
    with pytest.raises(Conflict, match="there are 2 of reserved ip lab-ingress") as caught:
        foundation().plan("reserved_ips")
    assert twin.id in caught.value.what


def test_a_compartment_that_was_there_is_used_and_outlives_us(tenancy: Tenancy, foundation: Fresh) -> None:
    client = tenancy.session.client("identity.IdentityClient")
    theirs = client.create_compartment(
        identity.CreateCompartmentDetails(compartment_id=tenancy.session.tenancy, name="lab", description="theirs")
    ).data
    made = make(foundation())
    assert made["compartment"].id == theirs.id
    assert client.get_compartment(theirs.id).data.freeform_tags == {}
    assert tear_down(tenancy.session, "lab", "lab", clock=tenancy.clock) == ()
    assert client.get_compartment(theirs.id).data.lifecycle_state == "ACTIVE"


def test_the_end_leaves_nothing_and_comes_twice_without_harm(tenancy: Tenancy, foundation: Fresh) -> None:
    from oci.object_storage.models import CreateMultipartUploadDetails

    empty = tenancy.in_words()
    made = make(foundation())
    storage = tenancy.session.client("object_storage.ObjectStorageClient")
    namespace = made["bucket"].attribute("namespace")
    for name in ("a.qcow2", "backups/etcd"):
        storage.put_object(namespace, "lab-images", name, b"x")
    storage.create_multipart_upload(namespace, "lab-images", CreateMultipartUploadDetails(object="half"))
    said: list[str] = []
    assert tear_down(tenancy.session, "lab", "lab", say=said.append, clock=tenancy.clock) == ()
    assert said[0] == "delete bucket lab-images"
    assert said[-1] == "delete compartment lab"
    assert tenancy.in_words() == empty
    assert what_stands(tenancy.session, "lab", "lab") == ()
    tenancy.sandbox.recorder.clear()
    assert tear_down(tenancy.session, "lab", "lab", clock=tenancy.clock) == ()
    assert tenancy.mutating_calls() == []


def test_what_is_in_use_is_named_as_what_remains(tenancy: Tenancy, foundation: Fresh, network: Any) -> None:
    made = make(foundation(), "network")
    network.create_private_ip(core.CreatePrivateIpDetails(subnet_id=made["subnet/private"].id, lifetime="RESERVED"))
    left = tear_down(tenancy.session, "lab", "lab", clock=tenancy.clock)
    assert {one.kind for one in left} == {"compartment", "vcn", "subnet", "route_table"}
    assert any("lab-private" in str(one) and "409" in one.why for one in left)


@pytest.fixture
def with_zone(tenancy: Tenancy) -> Callable[[tuple[str, ...]], NativeFoundation]:
    """The spec of a declaration with a domain, and as many reserved addresses as are named."""
    declaration = parse(declared("network: {dns_zone: example.org}\n"))
    return lambda ips: native(tenancy, foundation_of(declaration, "talos-native", ips))


def addresses(tenancy: Tenancy, zone: str) -> dict[str, list[str]]:
    records = tenancy.session.client("dns.DnsClient").get_zone_records(zone, rtype="A").data.items
    found: dict[str, list[str]] = {}
    for record in records:
        found.setdefault(record.domain, []).append(record.rdata)
    return found


def test_names_point_at_reserved_addresses(
    tenancy: Tenancy, with_zone: Callable[[tuple[str, ...]], NativeFoundation]
) -> None:
    made = make(with_zone(("ingress", "bastion")), "reserved_ips", "dns_zone")
    assert addresses(tenancy, made["dns_zone"].id) == {
        "ingress.example.org": [made["reserved_ip/ingress"].attribute("address")],
        "bastion.example.org": [made["reserved_ip/bastion"].attribute("address")],
    }
    assert made["dns_zone"].attribute("nameservers")
    tenancy.sandbox.recorder.clear()
    make(with_zone(("ingress", "bastion")), "reserved_ips", "dns_zone")
    assert tenancy.mutating_calls() == []


def test_a_record_that_was_moved_is_put_back_and_others_stay(
    tenancy: Tenancy, with_zone: Callable[[tuple[str, ...]], NativeFoundation]
) -> None:
    made = make(with_zone(("ingress",)), "reserved_ips", "dns_zone")
    zone = made["dns_zone"].id
    client = tenancy.session.client("dns.DnsClient")
    for domain, to in (("ingress.example.org", "192.0.2.99"), ("mail.example.org", "192.0.2.25")):
        record = dns.RecordDetails(domain=domain, rtype="A", rdata=to, ttl=60)
        client.update_rr_set(zone, domain, "A", dns.UpdateRRSetDetails(items=[record]))
    lines = with_zone(("ingress",)).plan("dns_zone").lines
    assert lines == (
        "change dns record ingress.example.org: address: 192.0.2.99 -> the address of reserved_ip/ingress",
    )
    make(with_zone(("ingress",)), "dns_zone")
    assert addresses(tenancy, zone) == {
        "ingress.example.org": [made["reserved_ip/ingress"].attribute("address")],
        "mail.example.org": ["192.0.2.25"],
    }
    assert tear_down(tenancy.session, "lab", "lab", clock=tenancy.clock) == ()
    assert what_stands(tenancy.session, "lab", "lab") == ()


def test_records_wait_for_their_addresses(
    tenancy: Tenancy, with_zone: Callable[[tuple[str, ...]], NativeFoundation]
) -> None:
    with pytest.raises(PreconditionMissing, match=r"dns record ingress.example.org needs reserved_ip/ingress"):
        make(with_zone(("ingress",)), "dns_zone")


def test_a_zone_of_somebody_else_stops_us(
    tenancy: Tenancy, with_zone: Callable[[tuple[str, ...]], NativeFoundation]
) -> None:
    compartment = make(with_zone(()), "network")["compartment"].id
    tenancy.session.client("dns.DnsClient").create_zone(
        dns.CreateZoneDetails(name="example.org", zone_type="PRIMARY", compartment_id=compartment)
    )
    with pytest.raises(Conflict, match=r"dns zone example.org exists already"):
        with_zone(()).plan("dns_zone")


def test_what_is_no_longer_declared_is_named_and_left(
    tenancy: Tenancy, with_zone: Callable[[tuple[str, ...]], NativeFoundation]
) -> None:
    make(with_zone(("ingress", "bastion")), "reserved_ips")
    plan = with_zone(("ingress",)).plan("reserved_ips")
    assert plan.is_noop
    assert [one.partition(" (")[0] for one in plan.surplus] == [
        "reserved ip lab-bastion is ours and no longer declared"
    ]
    tenancy.sandbox.recorder.clear()
    make(with_zone(("ingress",)), "reserved_ips")
    assert tenancy.mutating_calls() == []


def test_parts_that_are_made_at_the_same_time_share_one_compartment(tenancy: Tenancy, spec: FoundationSpec) -> None:
    """Bucket and network hang on the same upstream, so Dagster makes them at once, each in its own process."""
    parts: tuple[Part, ...] = ("network", "image_bucket", "reserved_ips")
    gate = threading.Barrier(len(parts))

    def one(part: Part) -> None:
        foundation = native(Tenancy(tenancy.sandbox, tenancy.folder), spec)
        plan = foundation.plan(part)
        gate.wait(timeout=20)
        foundation.apply(plan)

    with ThreadPoolExecutor(len(parts)) as pool:
        for done in [pool.submit(one, part) for part in parts]:
            done.result(timeout=60)
    assert len(tenancy.in_words("compartment")) == 2  # ours, and the root
    assert all(native(tenancy, spec).plan(part).is_noop for part in parts)
