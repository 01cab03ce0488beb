"""The spec of the foundation: what is open, what lies where, and what follows from the declaration."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.deployment.allowances import Resource
from ocifree_pipeline.deployment.blueprint import blueprint_of
from ocifree_pipeline.deployment.convergence import Ref
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.foundation import FoundationSpec, accepted_charges, foundation_of, groups_of
from ocifree_pipeline.deployment.limits import Counts
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.deployment.plan import Topology
from ocifree_pipeline.deployment.port_rules import SecurityRule, rules_between_nodes
from ocifree_pipeline_tests.deployment.declared import declared

PUBLIC = {("tcp", (22, 22)), ("tcp", (80, 80)), ("tcp", (443, 443)), ("icmp", (3, 4))}


def spec_of(snippet: str = "", *, topology: Topology = "talos-native", ips: tuple[str, ...] = ()) -> FoundationSpec:
    return foundation_of(parse(declared(snippet)), topology, ips)


def all_rules(spec: FoundationSpec) -> list[SecurityRule]:
    return [*spec.for_every_machine, *(rule for group in spec.groups for rule in group.rules)]


@given(
    bastion=st.sampled_from(["micro", "none"]),
    via=st.sampled_from(["direct", "auto"]),
    gateway=st.booleans(),
    topology=st.sampled_from(["proxmox-ceph", "talos-native"]),
    net=st.integers(16, 200).map(lambda number: f"10.{number}.0.0/16"),
)
def test_whatever_is_declared_the_outside_reaches_only_what_is_listed(
    bastion: str, via: str, gateway: bool, topology: Topology, net: str
) -> None:
    via = "direct" if bastion == "none" else via
    spec = spec_of(
        f"nodes: {{bastion: {bastion}}}\n"
        f"access:\n  via: {via}\n  ssh_public_keys: ['{declared().split('- ')[1].splitlines()[0]}']\n"
        f"kubernetes: {{gateway: {{enabled: {str(gateway).lower()}}}}}\n"
        f"network: {{vcn_cidr: {net}, pods: 172.16.0.0/16, services: 172.20.0.0/16, guests: 172.24.0.0/16}}\n",
        topology=topology,
    )
    for rule in all_rules(spec):
        assert rule.reason
        if rule.peer == "0.0.0.0/0":
            assert (rule.protocol, rule.ports) in PUBLIC
        elif isinstance(rule.peer, str):
            assert IPv4Network(rule.peer) == spec.vcn_cidr
            assert rule.protocol == "icmp" or (rule.protocol, rule.ports) == ("tcp", (5403, 5403))
        else:
            assert rule.peer in (Ref("group/inside"), Ref("group/ssh"))
    opened = {rule.ports for rule in all_rules(spec) if rule.peer == "0.0.0.0/0"}
    assert ((80, 80) in opened) == gateway
    assert (22, 22) in opened


@given(prefix=st.integers(16, 28), number=st.integers(0, 255))
def test_subnets_lie_inside_the_network_and_apart(prefix: int, number: int) -> None:
    net = IPv4Network((f"10.{number}.0.0", prefix))
    spec = spec_of(
        f"network: {{vcn_cidr: {net}, pods: 172.16.0.0/16, services: 172.20.0.0/16, guests: 172.24.0.0/16}}\n"
    )
    public, private = (subnet.cidr for subnet in spec.subnets)
    assert public.subnet_of(spec.vcn_cidr)
    assert private.subnet_of(spec.vcn_cidr)
    assert not public.overlaps(private)


@pytest.mark.parametrize(
    ("protocol", "ports", "topologies"),
    [
        ("udp", (5405, 5412), {"proxmox-ceph"}),
        ("tcp", (8006, 8006), {"proxmox-ceph"}),
        ("tcp", (3300, 3300), {"proxmox-ceph"}),
        ("tcp", (6789, 6789), {"proxmox-ceph"}),
        ("tcp", (6800, 7300), {"proxmox-ceph"}),
        ("udp", (4789, 4789), {"proxmox-ceph"}),
        ("tcp", (60000, 60050), {"proxmox-ceph"}),
        ("tcp", (22, 22), {"proxmox-ceph", "talos-native"}),
        ("udp", (8472, 8472), {"proxmox-ceph", "talos-native"}),
        ("tcp", (50000, 50001), {"proxmox-ceph", "talos-native"}),
        ("tcp", (6443, 6443), {"proxmox-ceph", "talos-native"}),
        ("tcp", (2379, 2380), {"proxmox-ceph", "talos-native"}),
        ("tcp", (10250, 10250), {"proxmox-ceph", "talos-native"}),
        ("tcp", (2381, 2383), {"proxmox-ceph", "talos-native"}),
        ("tcp", (9100, 9100), {"proxmox-ceph", "talos-native"}),
        ("tcp", (9962, 9965), {"proxmox-ceph", "talos-native"}),
        ("tcp", (12345, 12345), {"proxmox-ceph", "talos-native"}),
        ("tcp", (9283, 9283), {"proxmox-ceph"}),
    ],
)
def test_nodes_reach_each_other(protocol: str, ports: tuple[int, int], topologies: set[Topology]) -> None:
    everywhere: tuple[Topology, ...] = ("proxmox-ceph", "talos-native")
    open_in = {
        topology
        for topology in everywhere
        for rule in rules_between_nodes(topology)
        if (rule.protocol, rule.ports, rule.peer) == (protocol, ports, Ref("group/inside"))
    }
    assert open_in == topologies


def test_no_rule_says_the_same_twice() -> None:
    for topology in ("proxmox-ceph", "talos-native"):
        rules = [str(rule) for rule in rules_between_nodes(topology)]  # type: ignore[arg-type]
        assert len(rules) == len(set(rules))


@pytest.mark.parametrize(("account", "nat_limit", "nat"), [("payg", 5, False), ("free", 0, False), ("free", 5, False)])
def test_a_nat_gateway_only_where_it_is_free_and_allowed(account: str, nat_limit: int, nat: bool) -> None:
    declaration = parse(declared(f"site: {{region: uk-london-1, account: {account}}}\ntopology: talos-native\n"))
    limits = Counts({Resource.NAT_GATEWAYS: nat_limit})
    spec = foundation_of(declaration, "talos-native", (), limits)
    assert spec.nat_gateway is nat
    assert spec.nodes_subnet == ("private" if nat else "public")


def test_a_free_nat_gateway_takes_the_nodes_off_the_internet(monkeypatch: pytest.MonkeyPatch) -> None:
    from ocifree_pipeline.deployment import foundation

    monkeypatch.setattr(foundation, "free_of", lambda declaration: {Resource.NAT_GATEWAYS: 1})
    declaration = parse(declared("topology: talos-native\n"))
    spec = foundation_of(declaration, "talos-native", (), Counts({Resource.NAT_GATEWAYS: 1}))
    assert (spec.nat_gateway, spec.nodes_subnet) == (True, "private")
    assert [subnet.way_out for subnet in spec.subnets] == ["internet_gateway", "nat_gateway"]
    without_limits = foundation_of(declaration, "talos-native", ())
    assert not without_limits.nat_gateway


@pytest.mark.parametrize(
    ("hostname", "ingress"),
    [
        ("", "ingress.example.org"),
        ("hostname: shop.example.org", "shop.example.org"),
        ("hostname: example.org", "example.org"),
        ("hostname: shop.elsewhere.net", "ingress.example.org"),
    ],
)
def test_names_point_at_the_addresses_that_there_are(hostname: str, ingress: str) -> None:
    snippet = f"network: {{dns_zone: example.org}}\nkubernetes: {{gateway: {{{hostname}}}}}\n"
    both = spec_of(snippet, ips=("ingress", "bastion")).dns_zone
    assert both is not None
    assert [(one.domain, one.reserved_ip) for one in both.records] == [
        (ingress, "ingress"),
        ("bastion.example.org", "bastion"),
    ]
    one = spec_of(snippet, ips=("ingress",)).dns_zone
    assert one is not None
    assert [record.reserved_ip for record in one.records] == ["ingress"]
    assert accepted_charges(parse(declared(snippet))) == {"dns_zone"}
    assert accepted_charges(parse(declared())) == set()


@pytest.mark.parametrize(
    ("name", "label"), [("lab", "lab"), ("my-lab-2", "mylab2"), ("abcdefghij-klmnopqr", "abcdefghijklmno")]
)
def test_dns_labels_are_as_oracle_wants_them(name: str, label: str) -> None:
    assert spec_of(f"name: {name}\n").dns_label == label


def test_machines_are_in_the_groups_of_their_work() -> None:
    found = blueprint_of(parse(example("proxmox-ceph")))
    bastion = found.plan.bastion
    assert bastion is not None
    assert groups_of(bastion, found.declaration) == ("ssh",)
    assert groups_of(found.plan.ampere[0], found.declaration) == ("inside", "web")
    direct = parse(declared().replace("access:\n", "access:\n  via: direct\n"))
    assert groups_of(found.plan.ampere[0], direct) == ("inside", "web", "ssh")
