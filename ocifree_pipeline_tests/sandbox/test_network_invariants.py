"""Whatever a client does to VNICs and public IPs, the network stays in one piece."""

import json

import oci
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from oci.core import models

from ocifree_pipeline.sandbox.oracle import addresses, private_ips, public_ips
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline_tests.conformance.network import create_network
from ocifree_pipeline_tests.sandbox.harness import running

WHICH = st.integers(0, 2)
ACTIONS = st.one_of(
    st.tuples(st.sampled_from(["attach", "release", "reserve", "unassign", "delete", "wait"]), WHICH, WHICH),
    st.tuples(st.sampled_from(["assign", "second", "assign-second", "drop-second"]), WHICH, WHICH),
)

BEGINNING = [("attach", 0, 0), ("attach", 1, 0), ("second", 0, 0), ("reserve", 0, 0), ("reserve", 1, 0), ("wait", 1, 0)]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    with running(tmp_path_factory.mktemp("w"), mode="manual", profile=Profile(account="payg")) as here:
        yield create_network(here)


class Client:
    """Acts on up to three VNICs and three reserved public IPs; what the service refuses is no error here."""

    def __init__(self, network):
        self.network, self.core = network, network.client
        self.vnics, self.publics, self.seconds = {}, {}, {}

    def act(self, what, one, other):
        try:
            getattr(self, what.replace("-", "_"))(one, other)
        except KeyError:
            pass
        except oci.exceptions.ServiceError as error:
            if error.status not in {400, 404, 409}:
                raise

    def attach(self, one, _other):
        if one not in self.vnics:
            self.vnics[one] = self.network.vnic(instance=f"ocid1.instance.{one}", assignPublicIp=one == 0)

    def release(self, one, _other):
        self.network.release(self.vnics.pop(one))

    def reserve(self, one, _other):
        if one not in self.publics:
            details = models.CreatePublicIpDetails(compartment_id=self.network.tenancy, lifetime="RESERVED")
            self.publics[one] = self.core.create_public_ip(details).data.id

    def assign(self, one, other):
        self._move(one, self.network.primary_ip(self.vnics[other]).id)

    def unassign(self, one, _other):
        self._move(one, "")

    def delete(self, one, _other):
        self.core.delete_public_ip(self.publics[one])
        del self.publics[one]

    def second(self, one, _other):
        self.seconds[one] = self.core.create_private_ip(models.CreatePrivateIpDetails(vnic_id=self.vnics[one])).data.id

    def assign_second(self, one, other):
        self._move(one, self.seconds[other])

    def drop_second(self, one, _other):
        self.core.delete_private_ip(self.seconds.pop(one))

    def wait(self, one, _other):
        self.network.sandbox.advance(3 * one)

    def clean_up(self):
        for vnic in self.vnics.values():
            self.network.release(vnic)
        self.network.settle()
        for public in self.publics.values():
            self.core.delete_public_ip(public)
        self.network.settle()
        self.network.settle()

    def _move(self, public, target):
        self.core.update_public_ip(self.publics[public], models.UpdatePublicIpDetails(private_ip_id=target))


def broken(world: World) -> list[str]:
    """Every sentence about the network that is not true."""
    found = []
    taken = [(one.body["subnetId"], one.body["ipAddress"]) for one in world.all("privateip")]
    if len(set(taken)) != len(taken):
        found.append("two private IPs of a subnet have one address")
    for one in world.all("privateip"):
        networks = private_ips.networks(world.table("subnet")[one.body["subnetId"]])
        if not any(addresses.is_usable(network, addresses.address(one.body["ipAddress"])) for network in networks):
            found.append("a private IP has an address that its subnet does not give away")
    alive = [one for one in world.all("publicip") if not one.gone]
    if len({one.body["ipAddress"] for one in alive}) != len(alive):
        found.append("two public IPs have one address")
    held = [one.body["assignedEntityId"] for one in alive if one.state in public_ips.ASSIGNED]
    if len(set(held)) != len(held):
        found.append("a private IP has two public IPs")
    for one in alive:
        if one.state == "ASSIGNED" and world.get("privateip", one.body["assignedEntityId"]) is None:
            found.append("a public IP is assigned to nothing")
        if one.state == "AVAILABLE" and "assignedEntityId" in one.body:
            found.append("an available public IP is assigned")
    for vnic in world.all("vnic"):
        if vnic.gone:
            shown = None
        else:
            public = public_ips.of_entity(world, private_ips.primary(world, vnic.ocid).ocid)
            shown = public.body["ipAddress"] if public is not None and public.state == "ASSIGNED" else None
        if vnic.body.get("publicIp") != shown:
            found.append("a VNIC shows a public IP that its primary private IP does not have")
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(ACTIONS, max_size=15))
@example(actions=[("assign", 0, 1), ("wait", 1, 0), ("unassign", 0, 0)])
@example(actions=[("assign-second", 0, 0), ("wait", 1, 0), ("assign", 0, 1), ("assign", 1, 1), ("wait", 2, 0)])
def test_the_network_stays_in_one_piece(network, actions):
    client = Client(network)
    try:
        for action in (*BEGINNING, *actions):
            client.act(*action)
            assert network.sandbox.inside(broken) == []
    finally:
        client.clean_up()
    assert network.sandbox.inside(broken) == []
    assert network.client.list_private_ips(subnet_id=network.public.id).data == []
    assert network.client.list_public_ips("REGION", network.tenancy).data == []
    network.sandbox.inside(lambda world: json.dumps(world.to_json()))
