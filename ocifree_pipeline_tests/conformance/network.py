"""A small network made through the real SDK, and VNICs in it, for the tests of what stands on a network."""

from dataclasses import dataclass, field
from typing import Any

import oci
import pytest
from oci.core import models

from ocifree_pipeline.sandbox.oracle import vnics
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox


def refused(status: int, code: str, text: str = "") -> Any:
    """The service answers with exactly this status and code, and the message holds ``text``."""

    def fits(error: oci.exceptions.ServiceError) -> bool:
        return (error.status, error.code) == (status, code) and text in error.message

    return pytest.raises(oci.exceptions.ServiceError, check=fits)


@dataclass
class Network:
    """A VCN 10.0.0.0/16 with a public and a private subnet, all of it available."""

    sandbox: RunningSandbox
    client: oci.core.VirtualNetworkClient
    vcn: Any
    public: Any
    private: Any
    clients: dict[type, Any] = field(default_factory=dict)

    def client_of(self, cls: type) -> Any:
        """A client of another service, made once: to load its key takes a while."""
        if cls not in self.clients:
            self.clients[cls] = self.sandbox.client(cls)
        return self.clients[cls]

    @property
    def tenancy(self) -> str:
        return self.sandbox.tenancy

    @property
    def ad(self) -> str:
        return self.sandbox.inside(lambda world: world.availability_domains(world.home_region)[0])

    def vnic(self, subnet: Any = None, *, instance: str = "ocid1.instance.one", ad: str = "", **details: Any) -> str:
        """What Compute does when it attaches a network card. Returns the OCID of the VNIC."""
        where = (subnet or self.public).id
        zone = ad or self.ad

        def make(world: Any) -> str:
            return vnics.create(
                world,
                subnet_id=where,
                compartment=self.tenancy,
                region=world.home_region,
                ad=zone,
                details=details,
                instance_id=instance,
            ).ocid

        made = self.sandbox.inside(make)
        self.settle()
        return made

    def release(self, vnic: str) -> None:
        self.sandbox.inside(lambda world: vnics.release(world, vnic))

    def settle(self) -> None:
        """Let everything that is on its way arrive."""
        self.sandbox.advance(60)
        for _ in range(3):
            self.sandbox.inside(lambda world: world.settle())

    def primary_ip(self, vnic: str) -> Any:
        (found,) = [one for one in self.client.list_private_ips(vnic_id=vnic).data if one.is_primary]
        return found


def create_network(sandbox: RunningSandbox) -> Network:
    client = sandbox.client(oci.core.VirtualNetworkClient)
    tenancy = sandbox.tenancy
    vcn = client.create_vcn(
        models.CreateVcnDetails(
            compartment_id=tenancy, cidr_blocks=["10.0.0.0/16"], dns_label="net", display_name="net"
        )
    ).data
    made = Network(sandbox, client, vcn, None, None)
    made.settle()
    made.vcn = client.get_vcn(vcn.id).data
    made.public = create_subnet(made, "10.0.1.0/24", dns_label="pub")
    made.private = create_subnet(made, "10.0.2.0/24", dns_label="priv", prohibit_public_ip_on_vnic=True)
    made.settle()
    return made


def create_subnet(network: Network, cidr: str, **options: Any) -> Any:
    details = models.CreateSubnetDetails(
        compartment_id=network.tenancy, vcn_id=network.vcn.id, cidr_block=cidr, **options
    )
    return network.client.create_subnet(details).data


def running_machine(network: Network) -> str:
    """A machine that is up and answers SSH, put into the world by hand. Returns its private address."""

    def furnish(world: Any) -> str:
        body = {"compartmentId": world.tenancy, "displayName": "machine", "lifecycleState": "RUNNING"}
        machine = world.add("instance", body, hidden={"machine": {"phase": "up", "backend": "linux"}})
        disk = world.add("bootvolume", {"lifecycleState": "AVAILABLE"})
        held = {"instanceId": machine.ocid, "bootVolumeId": disk.ocid, "lifecycleState": "ATTACHED"}
        world.add("bootvolumeattachment", held)
        return machine.ocid

    instance = network.sandbox.inside(furnish)
    return network.client.get_vnic(network.vnic(instance=instance)).data.private_ip
