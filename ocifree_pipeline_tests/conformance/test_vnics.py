"""The unmodified SDK against VNICs, private IPs and public IPs."""

import pytest
from oci.core import models

from ocifree_pipeline.sandbox.oracle import vnics
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline_tests.conformance.network import create_network, create_subnet, refused
from ocifree_pipeline_tests.sandbox.harness import running


@pytest.fixture
def network(sandbox):
    return create_network(sandbox)


@pytest.fixture
def paying(tmp_path):
    with running(tmp_path, profile=Profile(account="payg")) as here:
        yield create_network(here)


@pytest.fixture
def slow(tmp_path):
    """Time stands still unless the test moves it."""
    with running(tmp_path, mode="manual", profile=Profile(account="payg")) as here:
        yield create_network(here)


def group(network, **options):
    details = models.CreateNetworkSecurityGroupDetails(
        **{"compartment_id": network.tenancy, "vcn_id": network.vcn.id} | options
    )
    made = network.client.create_network_security_group(details).data
    network.settle()
    return made


def oracle_error(status, code, text=""):
    from ocifree_pipeline.sandbox.oracle.errors import OracleError

    def fits(error):
        return (error.status, error.code) == (status, code) and text in error.message

    return pytest.raises(OracleError, check=fits)


# VNICs ----------------------------------------------------------------------------------------------------------


def test_a_vnic_in_a_public_subnet(network):
    vnic = network.client.get_vnic(network.vnic(displayName="Web-1")).data
    assert (vnic.lifecycle_state, vnic.is_primary, vnic.skip_source_dest_check) == ("AVAILABLE", True, False)
    assert vnic.private_ip.startswith("10.0.1.")
    assert vnic.public_ip.startswith(("203.0.113.", "198.51.100.", "192.0.2."))
    assert vnic.mac_address.startswith("02:00:17:")
    assert vnic.hostname_label == "web-1"
    private = network.primary_ip(vnic.id)
    assert (private.ip_address, private.hostname_label) == (vnic.private_ip, "web-1")
    found = network.client.get_public_ip_by_private_ip_id(
        models.GetPublicIpByPrivateIpIdDetails(private_ip_id=private.id)
    ).data
    assert (found.ip_address, found.lifetime, found.scope) == (vnic.public_ip, "EPHEMERAL", "AVAILABILITY_DOMAIN")
    assert found.availability_domain == network.ad


def test_a_vnic_in_a_private_subnet_has_no_public_ip(network):
    vnic = network.client.get_vnic(network.vnic(network.private)).data
    assert vnic.public_ip is None
    private = network.primary_ip(vnic.id)
    with refused(404, "NotAuthorizedOrNotFound"):
        network.client.get_public_ip_by_private_ip_id(models.GetPublicIpByPrivateIpIdDetails(private_ip_id=private.id))
    with refused(400, "InvalidParameter", "prohibits public IPs"):
        network.client.create_public_ip(
            models.CreatePublicIpDetails(compartment_id=network.tenancy, lifetime="EPHEMERAL", private_ip_id=private.id)
        )


def test_only_the_first_vnic_of_an_instance_is_primary(network):
    first, second = network.vnic(), network.vnic(network.private)
    other = network.vnic(instance="ocid1.instance.two")
    assert [network.client.get_vnic(one).data.is_primary for one in (first, second, other)] == [True, False, True]


@pytest.mark.parametrize(
    ("details", "status", "code", "text"),
    [
        ({"privateIp": "10.0.1.0"}, 400, "InvalidParameter", "not a usable address"),
        ({"privateIp": "10.0.1.1"}, 400, "InvalidParameter", "not a usable address"),
        ({"privateIp": "10.0.1.255"}, 400, "InvalidParameter", "not a usable address"),
        ({"privateIp": "10.0.2.9"}, 400, "InvalidParameter", "not a usable address"),
        ({"privateIp": "ten"}, 400, "InvalidParameter", "not a valid IPv4 address"),
        ({"privateIp": "10.0.1.9"}, 409, "Conflict", "already in use"),
        ({"hostnameLabel": "taken"}, 409, "Conflict", "already in use"),
        ({"hostnameLabel": "-no-"}, 400, "InvalidParameter", "RFC 952"),
        ({"hostnameLabel": "x", "assignPrivateDnsRecord": False}, 400, "InvalidParameter", "must be true"),
        ({"nsgIds": ["ocid1.none"]}, 400, "RelatedResourceNotAuthorizedOrNotFound", ""),
        ({"nsgIds": ["ocid1.none"] * 6}, 400, "InvalidParameter", "5 network security groups"),
        ({"assignIpv6Ip": True}, 400, "InvalidParameter", "no IPv6 prefix"),
        ({"privateIpId": "ocid1.none"}, 400, "RelatedResourceNotAuthorizedOrNotFound", ""),
        ({"vlanId": "ocid1.vlan"}, 501, "MethodNotImplemented", "vlanId"),
    ],
)
def test_vnics_that_are_refused_leave_nothing_behind(network, details, status, code, text):
    network.vnic(privateIp="10.0.1.9", hostnameLabel="taken")
    before = network.sandbox.state()
    with oracle_error(status, code, text):
        network.vnic(**details)
    assert network.sandbox.state()["tables"] == before["tables"]


def test_a_vnic_keeps_to_the_rules_of_its_subnet(network):
    with oracle_error(400, "InvalidParameter", "prohibits public IPs"):
        network.vnic(network.private, assignPublicIp=True)
    zonal = create_subnet(network, "10.0.7.0/24", availability_domain="Kfkm:UK-LONDON-1-AD-2")
    network.settle()
    with oracle_error(400, "InvalidParameter", "is in availability domain Kfkm:UK-LONDON-1-AD-2"):
        network.vnic(zonal)
    made = network.vnic(zonal, ad="Kfkm:UK-LONDON-1-AD-2", hostnameLabel=None)
    assert network.client.get_vnic(made).data.hostname_label is None


def test_a_subnet_that_is_changing_takes_no_vnic(slow):
    slow.client.update_subnet(slow.public.id, models.UpdateSubnetDetails(cidr_block="10.0.0.0/23"))
    with oracle_error(409, "IncorrectState", "UPDATING"):
        slow.vnic()
    slow.settle()
    assert slow.client.get_vnic(slow.vnic()).data.lifecycle_state == "AVAILABLE"


def test_a_full_subnet_takes_no_vnic(network):
    tiny = create_subnet(network, "10.0.7.0/30")
    network.settle()
    taken = network.vnic(tiny)
    assert network.client.get_vnic(taken).data.private_ip == "10.0.7.2"
    with oracle_error(409, "Conflict", "no free IP address"):
        network.vnic(tiny)
    network.release(taken)
    assert network.client.get_vnic(network.vnic(tiny)).data.private_ip == "10.0.7.2"


def test_a_vnic_changes(network):
    client = network.client
    vnic = network.vnic(displayName="one")
    firewall = group(network)
    network.vnic(instance="ocid1.instance.two", hostnameLabel="taken")
    before = client.get_vnic(vnic)
    update = models.UpdateVnicDetails(
        display_name="two", hostname_label="host", nsg_ids=[firewall.id], skip_source_dest_check=True
    )
    changed = client.update_vnic(vnic, update, if_match=before.headers["etag"]).data
    assert (changed.display_name, changed.hostname_label, changed.nsg_ids) == ("two", "host", [firewall.id])
    assert changed.skip_source_dest_check
    assert network.primary_ip(vnic).hostname_label == "host"
    with refused(412, "NoEtagMatch"):
        client.update_vnic(vnic, update, if_match=before.headers["etag"])
    with refused(409, "Conflict", "already in use"):
        client.update_vnic(vnic, models.UpdateVnicDetails(hostname_label="taken"))
    with refused(400, "RelatedResourceNotAuthorizedOrNotFound"):
        client.update_vnic(vnic, models.UpdateVnicDetails(nsg_ids=["ocid1.none"]))


def test_the_end_of_a_vnic_frees_its_addresses_but_not_what_is_reserved(paying):
    client = paying.client
    vnic = paying.vnic()
    public = client.get_vnic(vnic).data.public_ip
    secondary = client.create_private_ip(models.CreatePrivateIpDetails(vnic_id=vnic)).data
    reserved = reserve(paying, private_ip_id=secondary.id)
    paying.settle()
    assert client.get_public_ip(reserved.id).data.lifecycle_state == "ASSIGNED"
    paying.release(vnic)
    assert client.get_vnic(vnic).data.lifecycle_state == "TERMINATED"
    assert client.get_public_ip(reserved.id).data.lifecycle_state == "AVAILABLE"
    with refused(404, "NotAuthorizedOrNotFound"):
        client.get_public_ip_by_ip_address(models.GetPublicIpByIpAddressDetails(ip_address=public))
    assert client.list_private_ips(subnet_id=paying.public.id).data == []
    paying.sandbox.advance(61)
    with refused(404, "NotAuthorizedOrNotFound"):
        client.get_vnic(vnic)


def test_who_answers_at_an_address(network):
    vnic = network.client.get_vnic(network.vnic()).data

    def at(address):
        return network.sandbox.inside(lambda world: getattr(vnics.at(world, address), "ocid", None))

    assert at(vnic.private_ip) == at(vnic.public_ip) == vnic.id
    assert at("10.0.1.1") is None
    network.release(vnic.id)
    assert at(vnic.private_ip) is None
    assert at(vnic.public_ip) is None


# private IPs ----------------------------------------------------------------------------------------------------


def test_a_secondary_private_ip_moves_between_vnics(network):
    client = network.client
    left, right = network.vnic(), network.vnic(instance="ocid1.instance.two")
    made = client.create_private_ip(
        models.CreatePrivateIpDetails(vnic_id=left, ip_address="10.0.1.77", hostname_label="vip", display_name="vip")
    ).data
    assert (made.is_primary, made.ip_address, made.ip_state) == (False, "10.0.1.77", "ASSIGNED")
    moved = client.update_private_ip(made.id, models.UpdatePrivateIpDetails(vnic_id=right, display_name="moved")).data
    assert (moved.vnic_id, moved.display_name) == (right, "moved")
    assert made.id in {one.id for one in client.list_private_ips(vnic_id=right).data}
    found = client.list_private_ips(subnet_id=network.public.id, ip_address="10.0.1.77").data
    assert [one.id for one in found] == [made.id]
    elsewhere = network.vnic(network.private, instance="ocid1.instance.three")
    with refused(400, "InvalidParameter", "same subnet"):
        client.update_private_ip(made.id, models.UpdatePrivateIpDetails(vnic_id=elsewhere))
    client.delete_private_ip(made.id)
    with refused(404, "NotAuthorizedOrNotFound"):
        client.get_private_ip(made.id)


def test_a_primary_private_ip_belongs_to_its_vnic(network):
    primary = network.primary_ip(network.vnic())
    with refused(400, "InvalidParameter", "primary"):
        network.client.delete_private_ip(primary.id)
    with refused(400, "InvalidParameter", "primary"):
        network.client.update_private_ip(primary.id, models.UpdatePrivateIpDetails(display_name="x"))


@pytest.mark.parametrize(
    ("options", "status", "code", "text"),
    [
        ({}, 400, "InvalidParameter", "vnicId"),
        ({"vnic_id": "ocid1.none"}, 400, "RelatedResourceNotAuthorizedOrNotFound", ""),
        ({"vnic_id": "VNIC", "ip_address": "10.0.2.9"}, 400, "InvalidParameter", "not a usable address"),
        ({"vnic_id": "VNIC", "ip_address": "10.0.1.9"}, 409, "Conflict", "already in use"),
        ({"vnic_id": "VNIC", "vlan_id": "ocid1.vlan"}, 400, "RelatedResourceNotAuthorizedOrNotFound", ""),
        ({"subnet_id": "SUBNET"}, 400, "InvalidParameter", "RESERVED"),
    ],
)
def test_private_ips_that_are_refused(network, options, status, code, text):
    names = {"VNIC": network.vnic(privateIp="10.0.1.9"), "SUBNET": network.public.id}
    meant = {name: names.get(value, value) for name, value in options.items()}
    with refused(status, code, text):
        network.client.create_private_ip(models.CreatePrivateIpDetails(**meant))


def test_a_list_of_private_ips_needs_a_place(network):
    with refused(400, "InvalidParameter", "vnicId"):
        network.client.list_private_ips(ip_address="10.0.1.9")
    with refused(404, "NotAuthorizedOrNotFound"):
        network.client.list_private_ips(vnic_id="ocid1.none")


def test_a_vnic_has_64_private_ips_at_most(network):
    vnic = network.vnic()
    for _ in range(63):
        network.client.create_private_ip(models.CreatePrivateIpDetails(vnic_id=vnic))
    with refused(400, "LimitExceeded"):
        network.client.create_private_ip(models.CreatePrivateIpDetails(vnic_id=vnic))
    assert len(network.client.list_private_ips(vnic_id=vnic, limit=50).data) == 50


def test_a_reserved_private_ip_outlives_its_vnic(network):
    client = network.client
    details = models.CreatePrivateIpDetails(subnet_id=network.public.id, lifetime="RESERVED", ip_address="10.0.1.50")
    kept = client.create_private_ip(details).data
    assert (kept.ip_state, kept.vnic_id) == ("AVAILABLE", None)
    vnic = network.vnic(privateIpId=kept.id)
    assert client.get_vnic(vnic).data.private_ip == "10.0.1.50"
    assert client.get_private_ip(kept.id).data.ip_state == "ASSIGNED"
    network.release(vnic)
    assert client.get_private_ip(kept.id).data.ip_state == "AVAILABLE"
    with refused(409, "Conflict", "references the private IP"):
        client.delete_subnet(network.public.id)
    client.delete_private_ip(kept.id)


# public IPs -----------------------------------------------------------------------------------------------------


def reserve(network, **options):
    details = models.CreatePublicIpDetails(compartment_id=network.tenancy, lifetime="RESERVED", **options)
    return network.client.create_public_ip(details).data


def state(network, public):
    return network.client.get_public_ip(public.id).data.lifecycle_state


def move(network, public, target):
    return network.client.update_public_ip(public.id, models.UpdatePublicIpDetails(private_ip_id=target)).data


def test_a_free_account_has_one_reserved_public_ip(network):
    first = reserve(network)
    with refused(400, "LimitExceeded", "reserved-public-ip-count"):
        reserve(network)
    network.client.get_public_ip(first.id)
    network.client.delete_public_ip(first.id)
    assert state(network, first) == "TERMINATED"
    reserve(network)


def test_a_reserved_public_ip_goes_through_its_states(slow):
    left = slow.primary_ip(slow.vnic(assignPublicIp=False))
    right = slow.primary_ip(slow.vnic(assignPublicIp=False, instance="ocid1.instance.two"))
    made = reserve(slow, display_name="ingress")
    assert (made.lifecycle_state, made.scope, made.display_name) == ("PROVISIONING", "REGION", "ingress")
    with refused(409, "IncorrectState", "PROVISIONING"):
        move(slow, made, left.id)
    slow.sandbox.advance(3)
    assert state(slow, made) == "AVAILABLE"

    assert move(slow, made, left.id).lifecycle_state == "ASSIGNING"
    assert slow.client.get_vnic(left.vnic_id).data.public_ip is None
    slow.sandbox.advance(3)
    assert state(slow, made) == "ASSIGNED"
    assert slow.client.get_vnic(left.vnic_id).data.public_ip == made.ip_address

    moving = move(slow, made, right.id)
    assert (moving.lifecycle_state, moving.assigned_entity_id) == ("UNASSIGNING", left.id)
    with refused(409, "IncorrectState", "UNASSIGNING"):
        slow.client.delete_public_ip(made.id)
    slow.sandbox.advance(3)
    there = slow.client.get_public_ip(made.id).data
    assert (there.lifecycle_state, there.assigned_entity_id, there.private_ip_id) == ("ASSIGNING", right.id, right.id)
    slow.sandbox.advance(3)
    assert state(slow, made) == "ASSIGNED"
    assert slow.client.get_vnic(left.vnic_id).data.public_ip is None
    assert slow.client.get_vnic(right.vnic_id).data.public_ip == made.ip_address

    assert move(slow, made, "").lifecycle_state == "UNASSIGNING"
    slow.sandbox.advance(3)
    free = slow.client.get_public_ip(made.id).data
    assert (free.lifecycle_state, free.private_ip_id, free.ip_address) == ("AVAILABLE", None, made.ip_address)


def test_a_move_to_a_private_ip_that_is_gone_ends_available(slow):
    vnic = slow.vnic(assignPublicIp=False)
    target = slow.client.create_private_ip(models.CreatePrivateIpDetails(vnic_id=vnic)).data
    made = reserve(slow, private_ip_id=slow.primary_ip(vnic).id)
    slow.sandbox.advance(3)
    move(slow, made, target.id)
    slow.client.delete_private_ip(target.id)
    slow.sandbox.advance(6)
    assert state(slow, made) == "AVAILABLE"


def test_a_public_ip_moves_with_its_secondary_private_ip(paying):
    left, right = paying.vnic(), paying.vnic(instance="ocid1.instance.two")
    secondary = paying.client.create_private_ip(models.CreatePrivateIpDetails(vnic_id=left)).data
    made = reserve(paying, private_ip_id=secondary.id)
    paying.settle()
    paying.client.update_private_ip(secondary.id, models.UpdatePrivateIpDetails(vnic_id=right))
    found = paying.client.get_public_ip_by_ip_address(models.GetPublicIpByIpAddressDetails(ip_address=made.ip_address))
    assert (found.data.lifecycle_state, found.data.private_ip_id) == ("ASSIGNED", secondary.id)
    assert paying.sandbox.inside(lambda world: vnics.at(world, made.ip_address).ocid) == right


def test_the_death_of_an_assigned_public_ip(slow):
    vnic = slow.vnic()
    private = slow.primary_ip(vnic)
    by_private = models.GetPublicIpByPrivateIpIdDetails(private_ip_id=private.id)
    ephemeral = slow.client.get_public_ip_by_private_ip_id(by_private).data
    slow.client.delete_public_ip(ephemeral.id)
    assert state(slow, ephemeral) == "UNASSIGNING"
    assert slow.client.get_vnic(vnic).data.public_ip is None
    slow.sandbox.advance(3)
    assert state(slow, ephemeral) == "UNASSIGNED"
    reserved = reserve(slow, private_ip_id=private.id)
    slow.sandbox.advance(3)
    slow.client.delete_public_ip(reserved.id)
    slow.sandbox.advance(3)
    assert state(slow, reserved) == "TERMINATED"
    again = slow.client.create_public_ip(
        models.CreatePublicIpDetails(compartment_id=slow.tenancy, lifetime="EPHEMERAL", private_ip_id=private.id)
    ).data
    assert (again.lifecycle_state, again.scope) == ("ASSIGNED", "AVAILABILITY_DOMAIN")
    assert slow.client.get_vnic(vnic).data.public_ip == again.ip_address
    slow.sandbox.advance(61)
    for one in (ephemeral, reserved):
        with refused(404, "NotAuthorizedOrNotFound"):
            slow.client.get_public_ip(one.id)


def test_public_ips_that_are_refused(paying):
    client = paying.client
    vnic = paying.vnic()
    primary = paying.primary_ip(vnic)
    secondary = client.create_private_ip(models.CreatePrivateIpDetails(vnic_id=vnic)).data
    ephemeral = client.get_public_ip_by_private_ip_id(
        models.GetPublicIpByPrivateIpIdDetails(private_ip_id=primary.id)
    ).data

    def create(lifetime, private=None):
        details = models.CreatePublicIpDetails(compartment_id=paying.tenancy, lifetime=lifetime, private_ip_id=private)
        client.create_public_ip(details)

    with refused(409, "Conflict", f"already has the public IP {ephemeral.id}"):
        create("RESERVED", primary.id)
    with refused(400, "InvalidParameter", "primary"):
        create("EPHEMERAL", secondary.id)
    with refused(400, "MissingParameter", "privateIpId"):
        create("EPHEMERAL")
    with refused(400, "RelatedResourceNotAuthorizedOrNotFound"):
        create("RESERVED", "ocid1.none")
    with refused(400, "InvalidParameter", "cannot be moved"):
        move(paying, ephemeral, secondary.id)
    with refused(400, "InvalidParameter", "reserved"):
        client.change_public_ip_compartment(
            ephemeral.id, models.ChangePublicIpCompartmentDetails(compartment_id=paying.tenancy)
        )


def test_public_ips_are_listed_by_scope(paying):
    client, tenancy = paying.client, paying.tenancy
    paying.vnic()
    made = [reserve(paying).id for _ in range(3)]
    assert {one.id for one in client.list_public_ips("REGION", tenancy, lifetime="RESERVED").data} == set(made)
    (zonal,) = client.list_public_ips("AVAILABILITY_DOMAIN", tenancy, availability_domain=paying.ad).data
    assert zonal.lifetime == "EPHEMERAL"
    assert len(client.list_public_ips("REGION", tenancy, limit=2).data) == 2
    with refused(400, "MissingParameter", "availabilityDomain"):
        client.list_public_ips("AVAILABILITY_DOMAIN", tenancy)
    with refused(400, "InvalidParameter", "scope REGION"):
        client.list_public_ips("REGION", tenancy, availability_domain=paying.ad)
    renamed = client.update_public_ip(made[0], models.UpdatePublicIpDetails(display_name="new")).data
    assert renamed.display_name == "new"
