"""SSH through the proxy door: to the addresses that machines own in the sandbox, as the pipeline does it."""

import io
import socket

import paramiko
import pytest
from oci.core import models

from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline_tests.conformance.computing import Computing, computing
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running
from ocifree_pipeline_tests.sandbox.test_proxy import refusal, tunnel


@pytest.fixture
def cloud(manual: RunningSandbox) -> Computing:
    return computing(manual)


def key_pair() -> tuple[paramiko.PKey, str]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return paramiko.Ed25519Key.from_private_key(io.StringIO(pem.decode())), public.decode()


def uname(cloud: Computing, address: str, key: paramiko.PKey) -> str:
    with paramiko.SSHClient() as client, tunnel(cloud.sandbox, f"{address}:22") as connection:
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        client.connect(address, username="ubuntu", pkey=key, sock=connection, allow_agent=False, look_for_keys=False)
        _, output, _ = client.exec_command("uname -m", timeout=20)
        return output.read().decode().strip()


def addresses(cloud: Computing, instance: str) -> tuple[str, str, str]:
    """The VNIC of an instance, its private and its public address."""
    (attachment,) = cloud.compute.list_vnic_attachments(cloud.tenancy, instance_id=instance).data
    vnic = cloud.network.client.get_vnic(attachment.vnic_id).data
    return vnic.id, vnic.private_ip, vnic.public_ip


def test_a_machine_answers_ssh_at_its_private_and_its_public_address(cloud):
    key, public = key_pair()
    machine = cloud.launch(metadata={"ssh_authorized_keys": public})
    _, private_ip, public_ip = addresses(cloud, machine.id)
    assert [uname(cloud, address, key) for address in (private_ip, public_ip)] == ["aarch64", "aarch64"]
    tunnels = cloud.sandbox.recorder.query(method="CONNECT", status=200)
    assert [one.host for one in tunnels] == [f"{private_ip}:22", f"{public_ip}:22"]


def test_a_reserved_address_leads_to_whoever_holds_it_now(cloud):
    key, public = key_pair()
    machine = cloud.launch(metadata={"ssh_authorized_keys": public}, create_vnic_details=without_public_ip(cloud))
    vnic, _, _ = addresses(cloud, machine.id)
    details = models.CreatePublicIpDetails(compartment_id=cloud.tenancy, lifetime="RESERVED")
    reserved = cloud.network.client.create_public_ip(details).data
    cloud.wait()
    request = f"CONNECT {reserved.ip_address}:22 HTTP/1.1\r\n\r\n".encode()
    assert refusal(cloud.sandbox, request)[0] == 403
    target = models.UpdatePublicIpDetails(private_ip_id=cloud.network.primary_ip(vnic).id)
    cloud.network.client.update_public_ip(reserved.id, target)
    cloud.wait()
    assert uname(cloud, reserved.ip_address, key) == "aarch64"
    cloud.compute.instance_action(machine.id, "STOP")
    cloud.wait()
    status, _, body = refusal(cloud.sandbox, request)
    assert (status, body["code"]) == (504, "MachineSilent")
    assert "powered off" in body["message"]


def without_public_ip(cloud: Computing) -> models.CreateVnicDetails:
    return models.CreateVnicDetails(subnet_id=cloud.network.public.id, assign_public_ip=False)


def test_a_closed_port_and_a_reset_of_the_world_end_what_was_open(cloud):
    _, public = key_pair()
    machine = cloud.launch(metadata={"ssh_authorized_keys": public})
    _, private_ip, _ = addresses(cloud, machine.id)
    status, _, body = refusal(cloud.sandbox, f"CONNECT {private_ip}:8006 HTTP/1.1\r\n\r\n".encode())
    assert (status, body["code"]) == (504, "MachineSilent")
    with tunnel(cloud.sandbox, f"{private_ip}:22") as connection:
        assert connection.recv(8).startswith(b"SSH-2.0")
        token = {"authorization": f"Bearer {cloud.sandbox.sandbox.token}"}
        reply = cloud.sandbox.session.post(
            f"{cloud.sandbox.endpoint}/_sandbox/reset", json={}, headers=token, timeout=10
        )
        assert reply.status_code == 200
        assert ended(connection)
    assert refusal(cloud.sandbox, f"CONNECT {private_ip}:22 HTTP/1.1\r\n\r\n".encode())[0] == 403


def ended(connection: socket.socket) -> bool:
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def test_a_guest_that_cannot_boot_is_silent_and_the_proxy_says_why(tmp_path):
    """An imported disk boots BIOS unless it was told otherwise, and A1 knows UEFI only."""
    with running(tmp_path / "sandbox", mode="manual", profile=Profile(account="payg")) as here:
        cloud = computing(here)
        image = cloud.import_image(cloud.qcow2(tmp_path, "aarch64"), launchMode="PARAVIRTUALIZED")
        machine = cloud.launch(source_details=cloud.from_image(image))
        assert machine.lifecycle_state == "RUNNING"
        _, private_ip, _ = addresses(cloud, machine.id)
        status, _, body = refusal(here, f"CONNECT {private_ip}:22 HTTP/1.1\r\n\r\n".encode())
        assert (status, body["code"]) == (504, "MachineSilent")
        assert "UEFI" in body["message"]
