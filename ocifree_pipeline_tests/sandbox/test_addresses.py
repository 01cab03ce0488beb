"""Address arithmetic: properties that hold for every network, and the refusals."""

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.sandbox.oracle import addresses
from ocifree_pipeline.sandbox.oracle.errors import OracleError
from ocifree_pipeline.sandbox.world import World


@st.composite
def networks(draw: st.DrawFn, shortest: int = 24, longest: int = 30) -> IPv4Network:
    prefix = draw(st.integers(shortest, longest))
    return IPv4Network((10 << 24 | draw(st.integers(0, (1 << 24) - 1)), prefix), strict=False)


def world(seed: int = 1) -> World:
    return World(Path("unused"), seed=seed)


@given(network=networks(27), seed=st.integers(0, 50))
def test_a_subnet_gives_away_every_address_but_three_and_none_twice(network, seed):
    here, used = world(seed), set()
    while (address := addresses.free_address(here, network, used)) is not None:
        assert addresses.is_usable(network, address)
        assert address not in used
        used.add(address)
    assert len(used) == network.num_addresses - 3
    assert addresses.router(network) not in used


@given(network=networks(), seed=st.integers(0, 50))
def test_the_same_seed_chooses_the_same_address(network, seed):
    assert addresses.free_address(world(seed), network, ()) == addresses.free_address(world(seed), network, ())


@given(network=networks(28))
def test_a_full_subnet_leaves_the_world_as_it_was(network):
    here, used = world(), set(network.hosts())
    here.profile["region"] = "r"
    before = here.to_json()["counters"]
    assert addresses.free_address(here, network, used) is None
    assert here.to_json()["counters"] == before


def test_public_addresses_come_from_documentation_ranges_until_there_is_none():
    here, used = world(), set()
    for _ in range(762):
        used.add(addresses.free_public_address(here, used))
    assert len(used) == 762
    assert all(any(one in network for network in addresses.PUBLIC_POOL) for one in used)
    assert not any(int(one) % 256 in {0, 255} for one in used)
    with pytest.raises(OracleError, match="Out of public IP addresses"):
        addresses.free_public_address(here, used)


@given(blocks=st.lists(networks(20), min_size=2, max_size=6))
def test_overlaps_are_found_exactly_when_an_address_is_shared(blocks):
    shared = any(set(one) & set(other) for at, one in enumerate(blocks) for other in blocks[at + 1 :])
    assert (addresses.overlapping(blocks) is not None) == shared


@given(inner=networks(20), outer=networks(20))
def test_within_means_that_every_address_is_inside(inner, outer):
    assert addresses.within(inner, [outer]) == (set(inner) <= set(outer))


@pytest.mark.parametrize(
    "text",
    ["", "10.0.0.0", "10.0.0.1/16", "10.0.0.0/8", "10.0.0.0/31", "10.0.0.0/33", "300.0.0.0/16", "10.0.0.0/x",
     "169.254.0.0/16", "224.0.0.0/24", "127.0.0.0/16", "2001:db8::/32", "10.0.0.0/255.255.0.0/16"],
)  # fmt: skip
def test_blocks_that_oracle_refuses(text):
    with pytest.raises(OracleError, check=lambda error: (error.status, error.code) == (400, "InvalidParameter")):
        addresses.block(text)


def test_the_router_forms_its_ipv6_address_of_its_mac():
    assert addresses.link_local("00:00:17:ed:d7:7c") == "fe80::200:17ff:feed:d77c"


@pytest.mark.parametrize("prefix", ["02:00:17", "00:00:17"])
def test_macs_begin_with_oracles_prefix(prefix):
    mac = addresses.mac(world(), prefix)
    assert mac.startswith(prefix + ":")
    assert len(bytes.fromhex(mac.replace(":", ""))) == 6


def test_addresses_are_addresses():
    assert addresses.address("10.0.0.9") == IPv4Address("10.0.0.9")
    with pytest.raises(OracleError):
        addresses.address("10.0.0")
