"""The address plan, against the standard library's own idea of overlap."""

from __future__ import annotations

from ipaddress import IPv4Network
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.deployment.addresses import objections, parse_network, subnets_of
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.deployment.objection import Objection
from ocifree_pipeline_tests.deployment.declared import declared, problems_in

PRIVATE = IPv4Network("10.0.0.0/8")
TOP = ("vcn_cidr", "pods", "services", "guests")


def _inside(block: IPv4Network, prefix: int, position: int) -> IPv4Network:
    """A network of that prefix in the block; positions beyond the end wrap around."""
    count = 2 ** (prefix - block.prefixlen)
    address = int(block.network_address) + (position % count) * 2 ** (32 - prefix)
    return IPv4Network((address, prefix))


# A small part of 10.0.0.0/8, so that overlaps are common.
_networks = st.builds(
    _inside,
    st.sampled_from([PRIVATE, IPv4Network("10.0.0.0/12")]),
    st.integers(min_value=16, max_value=22),
    st.integers(min_value=0, max_value=2**14),
)


@given(networks=st.tuples(_networks, _networks, _networks, _networks))
def test_an_overlap_is_found_exactly_where_there_is_one(networks: tuple[IPv4Network, ...]) -> None:
    named = dict(zip(TOP, networks, strict=True))
    public, private = list(subnets_of(named["vcn_cidr"]))[:2]
    plan = {**named, "public_subnet": public, "private_subnet": private}
    expected = {(second, first) for first, second in combinations(TOP, 2) if named[first].overlaps(named[second])}
    found = {(objection.at[0], objection.involves[0][0]) for objection in objections(plan)}
    assert found == expected


@given(public=_networks, private=_networks, vcn=_networks)
def test_subnets_lie_inside_the_vcn_and_apart(public: IPv4Network, private: IPv4Network, vcn: IPv4Network) -> None:
    plan = {
        "vcn_cidr": vcn,
        "public_subnet": public,
        "private_subnet": private,
        "pods": IPv4Network("172.16.0.0/16"),
        "services": IPv4Network("172.17.0.0/16"),
        "guests": IPv4Network("172.18.0.0/16"),
    }
    found = {(objection.at[0], objection.involves[0][0]) for objection in objections(plan)}
    expected = {
        (name, "vcn_cidr")
        for name, subnet in (("public_subnet", public), ("private_subnet", private))
        if not subnet.subnet_of(vcn)
    }
    if public.overlaps(private):
        expected.add(("private_subnet", "public_subnet"))
    assert found == expected


@given(network=st.builds(_inside, st.just(IPv4Network("0.0.0.0/0")), st.integers(8, 22), st.integers(0, 2**22)))
def test_pods_are_accepted_only_from_private_ranges(network: IPv4Network) -> None:
    private = [IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
    plan = {
        "vcn_cidr": IPv4Network("10.0.0.0/16"),
        "public_subnet": IPv4Network("10.0.0.0/24"),
        "private_subnet": IPv4Network("10.0.1.0/24"),
        "pods": network,
        "services": IPv4Network("10.96.0.0/12"),
        "guests": IPv4Network("10.20.0.0/16"),
    }
    others = [plan[name] for name in ("vcn_cidr", "services", "guests")]
    right = any(network.subnet_of(block) for block in private) and not any(network.overlaps(other) for other in others)
    assert (not list(objections(plan))) == right


@given(vcn=st.builds(_inside, st.just(PRIVATE), st.integers(16, 28), st.integers(0, 2**20)))
def test_derived_subnets_are_always_right(vcn: IPv4Network) -> None:
    text = declared(
        f"network: {{vcn_cidr: {vcn}, pods: 172.16.0.0/16, services: 172.17.0.0/16, guests: 172.18.0.0/16}}\n"
    )
    network = parse(text).network
    assert network.public_subnet.subnet_of(vcn)
    assert network.private_subnet.subnet_of(vcn)
    assert not network.public_subnet.overlaps(network.private_subnet)


@given(network=_networks)
def test_a_range_that_is_written_is_read(network: IPv4Network) -> None:
    assert parse_network(str(network)) == network


@given(text=st.text(max_size=20))
def test_any_text_is_a_range_or_an_objection(text: str) -> None:
    assert isinstance(parse_network(text), IPv4Network | Objection)


@given(
    ranges=st.fixed_dictionaries({}, optional={name: _networks.map(str) for name in TOP}),
    mtu=st.integers(0, 9500),
)
def test_an_error_elsewhere_in_the_section_hides_no_overlap(ranges: dict[str, str], mtu: int) -> None:
    """The same overlaps are reported with and without a wrong mtu beside them."""

    def problems(mtu: int) -> set[tuple[str, str]]:
        lines = [f"  {name}: {network}\n" for name, network in ranges.items()]
        found = problems_in(declared(f"network:\n  vxlan: {{mtu: {mtu}}}\n{''.join(lines)}"))
        return {(problem.path, problem.why) for problem in found if problem.path != "network.vxlan.mtu"}

    assert problems(mtu) == problems(1400)


@pytest.mark.parametrize("text", ["10.0.0.0/33", "10.0.0/16", "10.0.0.0/", "/16", "10.0.0.0/16/16", "010.0.0.0/16", ""])
def test_what_is_no_range(text: str) -> None:
    assert isinstance(parse_network(text), Objection)
