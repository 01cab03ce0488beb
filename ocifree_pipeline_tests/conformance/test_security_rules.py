"""The unmodified SDK against security lists and network security groups."""

import pytest
from oci.core import models

from ocifree_pipeline_tests.conformance.network import create_network, refused


@pytest.fixture
def network(sandbox):
    return create_network(sandbox)


@pytest.fixture
def group(network):
    return create_group(network, display_name="web")


def create_group(network, **options):
    details = models.CreateNetworkSecurityGroupDetails(
        **{"compartment_id": network.tenancy, "vcn_id": network.vcn.id} | options
    )
    made = network.client.create_network_security_group(details).data
    network.settle()
    return made


def ports(low, high):
    return models.TcpOptions(destination_port_range=models.PortRange(min=low, max=high))


def ingress(**options):
    return models.AddSecurityRuleDetails(**{"direction": "INGRESS", "protocol": "6", "source": "0.0.0.0/0"} | options)


def add(network, group, *rules):
    details = models.AddNetworkSecurityGroupSecurityRulesDetails(security_rules=list(rules))
    reply = network.client.add_network_security_group_security_rules(group.id, details)
    return reply.data.security_rules


def rules_of(network, group, **options):
    return network.client.list_network_security_group_security_rules(group.id, **options).data


def test_the_life_of_a_rule(network, group):
    egress = models.AddSecurityRuleDetails(direction="EGRESS", protocol="all", destination="0.0.0.0/0")
    http, out = add(network, group, ingress(tcp_options=ports(80, 80), description="http"), egress)
    assert (http.is_stateless, http.is_valid, http.source_type) == (False, True, "CIDR_BLOCK")
    assert http.id != out.id
    assert [one.id for one in rules_of(network, group)] == [http.id, out.id]
    assert [one.id for one in rules_of(network, group, direction="EGRESS")] == [out.id]
    changed = models.UpdateSecurityRuleDetails(
        id=http.id, direction="INGRESS", protocol="6", source="10.0.0.0/16", tcp_options=ports(443, 443)
    )
    update = models.UpdateNetworkSecurityGroupSecurityRulesDetails(security_rules=[changed])
    (after,) = network.client.update_network_security_group_security_rules(group.id, update).data.security_rules
    assert (after.id, after.source, after.time_created) == (http.id, "10.0.0.0/16", http.time_created)
    remove = models.RemoveNetworkSecurityGroupSecurityRulesDetails(security_rule_ids=[http.id])
    network.client.remove_network_security_group_security_rules(group.id, remove)
    assert [one.id for one in rules_of(network, group)] == [out.id]
    with refused(400, "InvalidParameter", http.id):
        network.client.remove_network_security_group_security_rules(group.id, remove)
    with refused(400, "InvalidParameter", http.id):
        network.client.update_network_security_group_security_rules(group.id, update)


def test_a_group_holds_120_rules_and_25_at_once(network, group):
    def some(count):
        return [ingress(tcp_options=ports(port, port)) for port in range(1, count + 1)]

    with refused(400, "InvalidParameter", "25"):
        add(network, group, *some(26))
    for _ in range(4):
        add(network, group, *some(25))
    with refused(400, "LimitExceeded"):
        add(network, group, *some(21))
    add(network, group, *some(20))
    assert len(rules_of(network, group, limit=1000)) == 120
    with refused(400, "LimitExceeded"):
        add(network, group, *some(1))
    assert len({one.id for one in rules_of(network, group, limit=1000)}) == 120


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"source": None}, "source"),
        ({"source": "10.0.0.1/8"}, "host bits"),
        ({"source": "nowhere"}, "CIDR"),
        ({"destination": "10.0.0.0/8"}, "destination"),
        ({"protocol": "tcp"}, "protocol"),
        ({"protocol": "256"}, "protocol"),
        ({"protocol": "17", "tcp_options": ports(1, 2)}, "tcpOptions"),
        ({"tcp_options": ports(0, 2)}, "1 to 65535"),
        ({"tcp_options": ports(9, 2)}, "1 to 65535"),
        ({"tcp_options": ports(9, 65536)}, "1 to 65535"),
        ({"icmp_options": models.IcmpOptions(type=3)}, "icmpOptions"),
        ({"protocol": "1", "icmp_options": models.IcmpOptions(type=256)}, "0 to 255"),
        ({"source": "oci-phx-objectstorage", "source_type": "SERVICE_CIDR_BLOCK"}, "service"),
    ],
)
def test_rules_that_are_refused(network, group, options, text):
    code = "MissingParameter" if options == {"source": None} else "InvalidParameter"
    before = network.sandbox.state()
    with refused(400, code, text):
        add(network, group, ingress(**options))
    assert network.sandbox.state() == before


def test_a_rule_about_a_group_turns_invalid_when_that_group_goes(network, group):
    client = network.client
    other = create_group(network)
    add(network, group, ingress(source=other.id, source_type="NETWORK_SECURITY_GROUP"))
    assert [one.is_valid for one in rules_of(network, group)] == [True]
    client.delete_network_security_group(other.id)
    assert [one.is_valid for one in rules_of(network, group)] == [False]
    with refused(400, "RelatedResourceNotAuthorizedOrNotFound"):
        add(network, group, ingress(source=other.id, source_type="NETWORK_SECURITY_GROUP"))


def test_the_vnics_of_a_group(network, group):
    vnic = network.vnic(nsgIds=[group.id], instance="ocid1.instance.one")
    (member,) = network.client.list_network_security_group_vnics(group.id).data
    assert (member.vnic_id, member.resource_id) == (vnic, "ocid1.instance.one")
    assert member.time_associated
    with refused(409, "Conflict", f"references the VNIC {vnic}"):
        network.client.delete_network_security_group(group.id)
    network.client.update_vnic(vnic, models.UpdateVnicDetails(nsg_ids=[]))
    assert network.client.list_network_security_group_vnics(group.id).data == []
    network.client.delete_network_security_group(group.id)


def test_groups_are_found_renamed_and_kept_to_their_vcn(network, group):
    client = network.client
    renamed = client.update_network_security_group(
        group.id, models.UpdateNetworkSecurityGroupDetails(display_name="new")
    ).data
    assert renamed.display_name == "new"
    found = client.list_network_security_groups(compartment_id=network.tenancy, vcn_id=network.vcn.id).data
    assert [one.id for one in found] == [group.id]
    other = client.create_vcn(models.CreateVcnDetails(compartment_id=network.tenancy, cidr_block="10.9.0.0/16")).data
    network.settle()
    stranger = create_group(network, vcn_id=other.id)
    with refused(400, "InvalidParameter", "does not belong to the VCN"):
        add(network, group, ingress(source=stranger.id, source_type="NETWORK_SECURITY_GROUP"))


# security lists -------------------------------------------------------------------------------------------------


def security_list(network, incoming=(), outgoing=()):
    return models.CreateSecurityListDetails(
        compartment_id=network.tenancy,
        vcn_id=network.vcn.id,
        display_name="list",
        ingress_security_rules=list(incoming),
        egress_security_rules=list(outgoing),
    )


def test_the_life_of_a_security_list(network):
    client = network.client
    ssh = models.IngressSecurityRule(protocol="6", source="0.0.0.0/0", tcp_options=ports(22, 22))
    out = models.EgressSecurityRule(protocol="all", destination="0.0.0.0/0")
    made = client.create_security_list(security_list(network, [ssh], [out])).data
    network.settle()
    (kept,) = made.ingress_security_rules
    assert (kept.is_stateless, kept.source_type, kept.tcp_options.destination_port_range.max) == (
        False,
        "CIDR_BLOCK",
        22,
    )
    changed = client.update_security_list(made.id, models.UpdateSecurityListDetails(ingress_security_rules=[])).data
    assert (changed.ingress_security_rules, len(changed.egress_security_rules)) == ([], 1)
    listed = client.list_security_lists(network.tenancy, vcn_id=network.vcn.id, display_name="list").data
    assert [one.id for one in listed] == [made.id]
    client.delete_security_list(made.id)
    assert client.get_security_list(made.id).data.lifecycle_state == "TERMINATED"


def test_security_lists_that_are_refused(network):
    client = network.client
    good = models.IngressSecurityRule(protocol="all", source="0.0.0.0/0")
    with refused(400, "LimitExceeded"):
        client.create_security_list(security_list(network, [good] * 201))
    with refused(400, "InvalidParameter", "host bits"):
        client.create_security_list(
            security_list(network, [models.IngressSecurityRule(protocol="all", source="10.0.0.1/8")])
        )


def test_a_security_list_knows_no_groups(network):
    body = {
        "compartmentId": network.tenancy,
        "vcnId": network.vcn.id,
        "ingressSecurityRules": [{"protocol": "all", "source": "x", "sourceType": "NETWORK_SECURITY_GROUP"}],
        "egressSecurityRules": [],
    }
    reply = network.sandbox.request("POST", "/20160918/securityLists", json=body)
    assert (reply.status_code, reply.json()["code"]) == (400, "InvalidParameter")
    assert "ingressSecurityRules[0].sourceType" in reply.json()["message"]
