"""What is behind an instance: a guest that answers SSH, or one that stays silent and says why on its console."""

import asyncio
import base64
import socket
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import asyncssh
import oci
import paramiko
import pytest
from oci.core import models

from ocifree_pipeline.sandbox import machines, snapshot
from ocifree_pipeline.sandbox.disks.making import write_qcow2
from ocifree_pipeline.sandbox.machines import backend
from ocifree_pipeline.sandbox.machines.machine import Machine
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline_tests.conformance.computing import A1, MICRO, UEFI, Computing, computing
from ocifree_pipeline_tests.conformance.network import refused
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running

Result = TypeVar("Result")
BOOT = 60
"""More than a guest needs from RUNNING to its first login and to the end of cloud-init."""


@pytest.fixture
def here(tmp_path: Path) -> Any:
    with running(tmp_path, mode="manual", profile=Profile(account="payg")) as sandbox:
        yield computing(sandbox)


@cache
def key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


@cache
def stranger() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


def public(one: asyncssh.SSHKey) -> str:
    return one.export_public_key().decode().strip()


def launch(here: Computing, **changes: Any) -> Any:
    """An instance whose guest has had the time to come up."""
    instance = here.launch(**({"metadata": {"ssh_authorized_keys": public(key())}} | changes))
    here.wait(BOOT)
    return instance


def addresses(here: Computing, instance: str) -> tuple[str, str]:
    """Public and private address of the primary VNIC."""
    (attached,) = here.compute.list_vnic_attachments(here.tenancy, instance_id=instance).data
    vnic = here.network.client.get_vnic(attached.vnic_id).data
    return vnic.public_ip, vnic.private_ip


def reach(here: Computing, ip: str, port: int = 22) -> machines.Reached | None:
    return here.sandbox.inside(lambda world: machines.find(world, ip, port))


def port_of(here: Computing, ip: str) -> int:
    found = reach(here, ip)
    assert found is not None
    assert found.address is not None, found.reason
    return found.address[1]


def connected(port: int, work: Callable[[asyncssh.SSHClientConnection], Awaitable[Result]], **options: Any) -> Result:
    """Log in with a real client, do something, log out."""

    async def go() -> Result:
        given = {"username": "ubuntu", "client_keys": [key()], "known_hosts": None, "config": None} | options
        async with asyncssh.connect("127.0.0.1", port, **given) as connection:
            return await work(connection)

    return asyncio.run(go())


def ssh(here: Computing, ip: str, command: str, **options: Any) -> tuple[int, str]:
    async def work(connection: asyncssh.SSHClientConnection) -> tuple[int, str]:
        done = await connection.run(command)
        return done.exit_status, str(done.stdout) + str(done.stderr)

    return connected(port_of(here, ip), work, **options)


# a guest that answers -------------------------------------------------------------------------------------------------


def test_a_guest_answers_with_what_it_is(here):
    ip, private = addresses(here, launch(here).id)
    assert ssh(here, ip, "uname -m") == (0, "aarch64\n")
    assert ssh(here, ip, "cat /etc/os-release")[1].startswith('PRETTY_NAME="Ubuntu')
    assert ssh(here, ip, "test -e /dev/kvm") == (1, "")
    assert ssh(here, ip, "cloud-init status") == (0, "status: done\n")
    assert ssh(here, ip, "sudo id -un && hostname") == (0, "root\nampere-1\n")
    assert ssh(here, ip, "brew install kvm") == (127, "bash: brew: command not found\n")
    assert ssh(here, private, "whoami") == (0, "ubuntu\n")


def test_paramiko_logs_in_too(here, tmp_path):
    ip, _ = addresses(here, launch(here).id)
    port = port_of(here, ip)
    key().write_private_key(tmp_path / "id")
    console_key = host_key_on_console(here)
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    client.get_host_keys().add(f"[127.0.0.1]:{port}", "ssh-ed25519", console_key)
    client.connect(
        "127.0.0.1", port, "ubuntu", key_filename=str(tmp_path / "id"), allow_agent=False, look_for_keys=False
    )
    try:
        _, out, _ = client.exec_command("uname -s; nproc")
        assert (out.read(), out.channel.recv_exit_status()) == (b"Linux\n1\n", 0)
    finally:
        client.close()


def host_key_on_console(here: Computing) -> paramiko.PKey:
    """The host key as the only instance has published it."""
    (instance,) = here.compute.list_instances(here.tenancy).data
    lines = here.console(instance.id).splitlines()
    kind, encoded = lines[lines.index("-----BEGIN SSH HOST KEY KEYS-----") + 1].split()[:2]
    return paramiko.PKey.from_type_string(kind, base64.b64decode(encoded))


def test_the_console_publishes_the_fingerprint_of_the_real_host_key(here):
    instance = launch(here)
    ip, _ = addresses(here, instance.id)

    async def work(connection: asyncssh.SSHClientConnection) -> str:
        found = connection.get_server_host_key()
        assert found is not None
        return found.get_fingerprint()

    fingerprint = connected(port_of(here, ip), work)
    console = here.console(instance.id)
    assert "-----BEGIN SSH HOST KEY FINGERPRINTS-----" in console
    assert f"256 {fingerprint} root@ampere-1 (ED25519)" in console


@pytest.mark.parametrize(("system", "user"), [("Canonical Ubuntu", "ubuntu"), ("Oracle Linux", "opc")])
def test_only_the_injected_key_and_the_users_of_the_image_get_in(here, system, user):
    image = here.platform_image(system=system)
    ip, _ = addresses(here, launch(here, source_details=here.from_image(image.id)).id)
    assert ssh(here, ip, "whoami", username=user) == (0, f"{user}\n")
    for options in (
        {"username": user, "client_keys": [stranger()]},
        {"username": "nobody"},
        {"username": user, "client_keys": None, "password": "secret", "agent_path": None},
    ):
        with pytest.raises(asyncssh.PermissionDenied):
            ssh(here, ip, "whoami", **options)
    code, said = ssh(here, ip, "whoami", username="root")
    assert (code, said) == (142, f'Please login as the user "{user}" rather than the user "root".\n')


def test_two_guests_have_two_host_keys_and_a_reboot_keeps_its_own(here):
    one, two = launch(here, display_name="one"), launch(here, display_name="two")

    async def host_key(connection: asyncssh.SSHClientConnection) -> str:
        found = connection.get_server_host_key()
        assert found is not None
        return found.get_fingerprint()

    def fingerprint(instance: str) -> str:
        return connected(port_of(here, addresses(here, instance)[0]), host_key)

    before = [fingerprint(one.id), fingerprint(two.id)]
    assert before[0] != before[1]
    here.compute.instance_action(one.id, "RESET")
    here.wait(2 * BOOT)
    assert fingerprint(one.id) == before[0]
    assert here.console(one.id).count("BEGIN SSH HOST KEY FINGERPRINTS") == 1


def test_commands_wait_for_cloud_init_and_the_clock(tmp_path):
    with running(tmp_path, mode="seconds") as sandbox:
        here = computing_fast(sandbox)
        made = here.compute.launch_instance(here.details(metadata={"ssh_authorized_keys": public(key())})).data
        ip = wait_for_ssh(here, made.id)
        assert ssh(here, ip, "cloud-init status --wait") == (0, ".\nstatus: done\n")


def computing_fast(sandbox: RunningSandbox) -> Computing:
    """Virtual time runs by itself, a thousand times as fast."""
    made = computing(sandbox)
    sandbox.inside(lambda world: world.clock.set_mode("seconds", 1000))
    return made


def wait_for_ssh(here: Computing, instance: str) -> str:
    oci.wait_until(
        here.compute, here.compute.get_instance(instance), "lifecycle_state", "RUNNING", max_interval_seconds=1
    )
    ip, _ = addresses(here, instance)
    for _ in range(1000):
        found = reach(here, ip)
        if found is not None and found.address is not None:
            return ip
    raise AssertionError("the guest never came up")


def test_a_shell_runs_line_by_line(here):
    ip, _ = addresses(here, launch(here).id)

    async def work(connection: asyncssh.SSHClientConnection) -> tuple[str, int | None]:
        done = await connection.run(input="whoami\nfalse\nexit\nwhoami\n")
        return str(done.stdout), done.exit_status

    assert connected(port_of(here, ip), work) == ("ubuntu\n", 1)


# a jump host ----------------------------------------------------------------------------------------------------------


def test_a_bastion_leads_to_private_machines(here):
    bastion = here.micro(metadata={"ssh_authorized_keys": public(key())})
    inner = launch(
        here, create_vnic_details=models.CreateVnicDetails(subnet_id=here.network.private.id), display_name="inner"
    )
    ip, _ = addresses(here, bastion.id)
    public_ip, private = addresses(here, inner.id)
    assert public_ip is None

    async def work(connection: asyncssh.SSHClientConnection) -> str:
        async with asyncssh.connect(
            private, username="ubuntu", client_keys=[key()], known_hosts=None, config=None, tunnel=connection
        ) as inside:
            return str((await inside.run("hostname")).stdout)

    assert connected(port_of(here, ip), work) == "inner\n"


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (("10.0.9.9", 22), "no machine of the sandbox owns 10.0.9.9"),
        (("192.0.2.250", 443), "no machine of the sandbox owns"),
        (("localhost", 5432), "nothing listens on localhost:5432"),
        (("own", 8006), "no service of the guest listens on port 8006"),
    ],
)
def test_a_bastion_leads_nowhere_else(here, target, says):
    bastion = here.micro(metadata={"ssh_authorized_keys": public(key())})
    here.wait(BOOT)
    ip, private = addresses(here, bastion.id)
    host = private if target[0] == "own" else target[0]

    async def work(connection: asyncssh.SSHClientConnection) -> None:
        await connection.open_connection(host, target[1])

    with pytest.raises(asyncssh.ChannelOpenError, match=says):
        connected(port_of(here, ip), work)


# when nobody answers --------------------------------------------------------------------------------------------------


def test_addresses_answer_only_while_the_guest_is_up(here):
    made = here.compute.launch_instance(here.details(metadata={"ssh_authorized_keys": public(key())})).data
    here.wait(50)
    assert here.compute.get_instance(made.id).data.lifecycle_state == "RUNNING"
    ip, _ = addresses(here, made.id)
    booting = reach(here, ip)
    assert booting is not None
    assert (booting.address, booting.reason) == (None, "it is still booting")
    here.wait(BOOT)
    port = port_of(here, ip)
    assert port == port_of(here, ip)
    assert here.sandbox.inside(lambda world: machines.address_of(world, ip, 22)) == ("127.0.0.1", port)
    assert here.sandbox.inside(lambda world: machines.address_of(world, ip, 8006)) is None
    assert reach(here, "203.0.113.254") is None
    here.compute.instance_action(made.id, "STOP")
    stopped = reach(here, ip)
    assert stopped is not None
    assert (stopped.address, stopped.reason) == (None, "it is powered off")
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    here.wait(BOOT)
    here.compute.terminate_instance(made.id)
    here.wait(BOOT)
    assert reach(here, ip) is None


def test_power_off_breaks_connections(here):
    instance = launch(here)
    ip, _ = addresses(here, instance.id)

    async def work(connection: asyncssh.SSHClientConnection) -> str:
        process = await connection.create_process()
        process.stdin.write("whoami\n")
        line = await process.stdout.readline()
        await asyncio.to_thread(here.compute.instance_action, instance.id, "RESET")
        await connection.wait_closed()
        return str(line)

    assert connected(port_of(here, ip), work) == "ubuntu\n"


def test_a_reserved_address_leads_to_the_machine_it_is_given_to(here):
    one = launch(here, display_name="one", create_vnic_details=without_public_ip(here))
    two = launch(here, display_name="two", create_vnic_details=without_public_ip(here))
    details = models.CreatePublicIpDetails(compartment_id=here.tenancy, lifetime="RESERVED")
    reserved = here.network.client.create_public_ip(details).data
    here.wait(10)
    for instance in (one, two):
        (attached,) = here.compute.list_vnic_attachments(here.tenancy, instance_id=instance.id).data
        private = here.network.primary_ip(attached.vnic_id)
        here.network.client.update_public_ip(reserved.id, models.UpdatePublicIpDetails(private_ip_id=private.id))
        here.wait(30)
        assert ssh(here, reserved.ip_address, "hostname") == (0, f"{instance.display_name}\n")


def without_public_ip(here: Computing) -> models.CreateVnicDetails:
    return models.CreateVnicDetails(subnet_id=here.network.public.id, assign_public_ip=False)


def test_a_restored_world_answers_as_before(here, tmp_path):
    ip, _ = addresses(here, launch(here).id)
    before = ssh(here, ip, "cat /etc/ssh/ssh_host_ed25519_key.pub")
    here.sandbox.inside(lambda world: snapshot.save(world, tmp_path / "saved"))
    asyncio.run_coroutine_threadsafe(machines.close(here.sandbox.sandbox.world), here.sandbox.loop).result(10)
    here.sandbox.inside(lambda world: snapshot.restore(world, tmp_path / "saved"))
    assert ssh(here, ip, "cat /etc/ssh/ssh_host_ed25519_key.pub") == before


# images that do not boot ----------------------------------------------------------------------------------------------


def broken(directory: Path) -> Path:
    path = directory / "disk.qcow2"
    path.write_bytes(b"this is no disk at all".ljust(1024**2, b"\0"))
    return path


SILENT = {
    "bios-on-a1": (("aarch64",), False, A1, {}, "the image asks for BIOS firmware"),
    "wrong-architecture": (
        ("x86_64",),
        True,
        A1,
        {"launchMode": "CUSTOM", "launchOptions": UEFI},
        "starts EFI/BOOT/BOOTAA64.EFI",
    ),
    "no-loader": ((), False, A1, {"launchMode": "CUSTOM", "launchOptions": UEFI}, "it has no EFI fallback loader"),
    "no-boot-code": (("x86_64",), False, MICRO, {}, "its first sector holds no boot code"),
    "arm-on-micro": (("aarch64",), False, MICRO, {"launchMode": "CUSTOM", "launchOptions": UEFI}, "BOOTX64.EFI"),
    "broken": (
        None,
        False,
        A1,
        {"launchMode": "CUSTOM", "launchOptions": UEFI},
        "no valid QCOW2 disk: it does not begin",
    ),
}


@pytest.mark.parametrize(("loaders", "boot_code", "shape", "mode", "says"), SILENT.values(), ids=SILENT)
def test_a_guest_that_cannot_boot_is_running_and_silent(here, tmp_path, loaders, *, boot_code, shape, mode, says):
    path = broken(tmp_path) if loaders is None else write_qcow2(tmp_path / "disk.qcow2", loaders, boot_code=boot_code)
    image = here.import_image(here.upload(path), shapes=(A1, MICRO), **mode)
    source = here.from_image(image)
    instance = here.micro(source_details=source) if shape == MICRO else launch(here, source_details=source)
    here.wait(10 * BOOT)
    assert here.compute.get_instance(instance.id).data.lifecycle_state == "RUNNING"
    found = reach(here, addresses(here, instance.id)[0])
    assert found is not None
    assert found.address is None
    assert says in found.reason
    console = here.console(instance.id)
    assert says in console
    assert "login:" not in console


ANSWERING = {
    "uefi-on-a1": (("aarch64",), False, A1, {"launchMode": "CUSTOM", "launchOptions": UEFI}),
    "bios-on-micro": ((), True, MICRO, {}),
    "uefi-on-micro": (("x86_64",), False, MICRO, {"launchMode": "CUSTOM", "launchOptions": UEFI}),
    "both-on-a1": (("aarch64", "x86_64"), True, A1, {"launchMode": "CUSTOM", "launchOptions": UEFI}),
}


@pytest.mark.parametrize(("loaders", "boot_code", "shape", "mode"), ANSWERING.values(), ids=ANSWERING)
def test_an_imported_disk_that_can_boot_answers(here, tmp_path, loaders, boot_code, shape, *, mode):
    path = write_qcow2(tmp_path / "disk.qcow2", loaders, boot_code=boot_code)
    image = here.import_image(here.upload(path), shapes=(shape,), **mode)
    metadata = {"ssh_authorized_keys": public(key())}
    instance = (
        here.micro(source_details=here.from_image(image), metadata=metadata)
        if shape == MICRO
        else launch(here, source_details=here.from_image(image))
    )
    here.wait(BOOT)
    code, said = ssh(here, addresses(here, instance.id)[0], "uname -m; cat /etc/os-release", username="debian")
    assert code == 0
    assert said.splitlines()[0] == ("aarch64" if shape == A1 else "x86_64")
    assert "Debian GNU/Linux 13" in said


def test_a_capability_schema_wakes_a_bios_image(here, tmp_path):
    image = here.import_image(here.upload(write_qcow2(tmp_path / "disk.qcow2", ("aarch64",))))
    (schema,) = here.compute.list_compute_global_image_capability_schemas().data
    descriptor = models.EnumStringImageCapabilitySchemaDescriptor(
        source="IMAGE", values=["UEFI_64"], default_value="UEFI_64"
    )
    here.compute.create_compute_image_capability_schema(
        models.CreateComputeImageCapabilitySchemaDetails(
            compartment_id=here.tenancy,
            image_id=image,
            compute_global_image_capability_schema_version_name=schema.current_version_name,
            schema_data={"Compute.Firmware": descriptor},
        )
    )
    instance = launch(here, source_details=here.from_image(image))
    assert ssh(here, addresses(here, instance.id)[0], "test -d /sys/firmware/efi", username="debian") == (0, "")


class Echo:
    """Another kind of guest: it is known by the label of its partition, and repeats what it is told on port 7."""

    name = "echo"

    def recognises(self, machine: Machine) -> bool:
        return "ECHO" in machine.disk["labels"]

    def start(self, machine: Machine) -> None:
        machine.print("echo starts")

    def come_up(self, machine: Machine) -> None:
        machine.print("echo listens")

    def ports(self, _machine: Machine) -> dict[int, backend.Serve]:
        async def serve(_machine: Machine, listening: socket.socket) -> backend.Listener:
            async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(await reader.readline())
                writer.close()

            return await asyncio.start_server(repeat, sock=listening)

        return {7: serve}


def test_other_kinds_of_guests_can_be_added(here, tmp_path, monkeypatch):
    monkeypatch.setattr(backend, "BACKENDS", [Echo()])
    path = write_qcow2(tmp_path / "disk.qcow2", ("aarch64",), label="ECHO")
    image = here.import_image(here.upload(path), launchMode="CUSTOM", launchOptions=UEFI)
    echo = launch(here, source_details=here.from_image(image))
    plain = launch(here, display_name="plain")
    ip, _ = addresses(here, echo.id)
    refused_port, found = reach(here, ip), reach(here, ip, 7)
    assert refused_port is not None
    assert refused_port.reason == "no service of the guest listens on port 22"
    assert found is not None
    assert found.address is not None
    with socket.create_connection(found.address, timeout=5) as connection:
        connection.sendall(b"hello\n")
        assert connection.makefile().readline() == "hello\n"
    assert here.console(echo.id) == "echo starts\necho listens\n"
    assert ssh(here, addresses(here, plain.id)[0], "hostname") == (0, "plain\n")


def test_console_histories_are_kept_read_in_parts_and_deleted(here):
    instance = launch(here)
    made = here.compute.capture_console_history(models.CaptureConsoleHistoryDetails(instance_id=instance.id)).data
    assert made.lifecycle_state == "REQUESTED"
    with refused(409, "IncorrectState"):
        here.compute.get_console_history_content(made.id)
    here.wait(4)
    assert here.compute.get_console_history(made.id).data.lifecycle_state == "GETTING-HISTORY"
    here.wait(4)
    whole = here.compute.get_console_history_content(made.id).data
    part = here.compute.get_console_history_content(made.id, offset=10, length=20)
    assert part.data == whole[10:30]
    assert int(part.headers["opc-bytes-remaining"]) == len(whole) - 30
    named = models.UpdateConsoleHistoryDetails(display_name="first boot")
    assert here.compute.update_console_history(made.id, named).data.display_name == "first boot"
    assert [one.id for one in here.compute.list_console_histories(here.tenancy, instance_id=instance.id).data] == [
        made.id
    ]
    here.compute.delete_console_history(made.id)
    with refused(404, "NotAuthorizedOrNotFound"):
        here.compute.get_console_history(made.id)
