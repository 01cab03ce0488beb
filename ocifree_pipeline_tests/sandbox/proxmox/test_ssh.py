"""A guest over real SSH: input that comes in pieces, files, and the hand that cuts links and pulls plugs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

import asyncssh
import pytest

from ocifree_pipeline.sandbox.machines import hand, tampering
from ocifree_pipeline_tests.sandbox.proxmox.served import Served, served

Result = TypeVar("Result")


@cache
def key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("ssh"), 2) as made:
        public = key().export_public_key().decode().strip()
        made.inside(lambda rig: rig.machine("pve1").guest["users"].update(debian=[public]))
        made.inside(lambda rig: rig.machine("pve2").guest["users"].update(debian=[public]))
        yield made


def connected(here: Served, work: Callable[[asyncssh.SSHClientConnection], Awaitable[Result]]) -> Result:
    port = here.port("pve1", 22)

    async def go() -> Result:
        options = {"username": "debian", "client_keys": [key()], "known_hosts": None, "config": None}
        async with asyncssh.connect("127.0.0.1", port, **options) as connection:
            return await work(connection)

    return asyncio.run(go())


def test_a_command_reads_what_is_typed_line_by_line(here):
    async def work(connection: asyncssh.SSHClientConnection) -> tuple[int | None, str]:
        async with connection.create_process("sudo tee /root/typed | wc -l") as process:
            process.stdin.write("one\n")
            await asyncio.sleep(0.05)
            process.stdin.write("two\n")
            process.stdin.write_eof()
            done = await process.wait()
            return done.exit_status, str(done.stdout)

    assert connected(here, work) == (0, "2\n")
    assert here.inside(lambda rig: rig.ok("pve1", "cat /root/typed")) == "one\ntwo\n"


def test_a_prompt_hangs_while_nobody_types(here):
    async def work(connection: asyncssh.SSHClientConnection) -> str:
        async with connection.create_process("sudo pvecm add 10.0.1.12") as process:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(process.wait(), 0.3)
            process.stdin.write_eof()
            return str((await process.wait()).stderr)

    assert "EOF while reading password" in connected(here, work)


def test_files_travel_with_the_rights_of_who_logged_in(here):
    async def work(connection: asyncssh.SSHClientConnection) -> bytes:
        async with connection.start_sftp_client() as sftp:
            async with sftp.open("notes.txt", "wb") as file:
                await file.write(b"a\xff\n" * 20_000)
            await sftp.chmod("notes.txt", 0o600)
            assert (await sftp.stat("notes.txt")).permissions & 0o777 == 0o600
            await sftp.rename("notes.txt", "kept.txt")
            assert "kept.txt" in await sftp.listdir(".")
            with pytest.raises(asyncssh.SFTPPermissionDenied):
                async with sftp.open("/etc/motd", "wb") as file:
                    await file.write(b"x")
            with pytest.raises(asyncssh.SFTPNoSuchFile):
                await sftp.stat("/none")
            await sftp.mkdir("folder")
            async with sftp.open("kept.txt", "rb") as file:
                return bytes(await file.read())

    assert connected(here, work) == b"a\xff\n" * 20_000


def test_a_way_through_ends_where_the_link_is_cut(here):
    async def work(connection: asyncssh.SSHClientConnection) -> bool:
        try:
            _, writer = await connection.open_connection("10.0.1.12", 8006)
        except asyncssh.ChannelOpenError as error:
            return "link is cut" not in str(error)
        writer.close()
        return True

    assert connected(here, work)
    here.inside(lambda rig: hand.set_link(rig.world, ["10.0.1.11", "pve2"], cut=True))
    assert here.inside(lambda rig: hand.links(rig.world)) == [{"between": ["pve1", "pve2"], "traffic": "all"}]
    assert not connected(here, work)
    here.inside(lambda rig: hand.set_link(rig.world, ["pve1", "pve2"], cut=False))
    assert connected(here, work)


def test_proxmoxer_over_ssh_says_the_same_as_over_https(here, tmp_path):
    from proxmoxer import ProxmoxAPI
    from proxmoxer.core import ResourceException

    key().write_private_key(tmp_path / "id")
    login = {"user": "debian", "private_key_file": str(tmp_path / "id"), "port": here.port("pve1", 22), "sudo": True}
    over_ssh = ProxmoxAPI("127.0.0.1", backend="ssh_paramiko", timeout=20, **login)
    over_https = here.client()
    assert over_ssh.version.get() == over_https.version.get()
    assert over_ssh.cluster.status.get() == over_https.cluster.status.get()
    over_ssh.access.users.post(userid="ssh@pve", comment="made by a command")
    assert "ssh@pve" in [one["userid"] for one in over_https.access.users.get()]
    with pytest.raises(ResourceException, match="400"):
        over_ssh.access.users.post(userid="ssh@pve", nonsense=1)
    over_ssh._backend.session.ssh_client.close()


def test_the_hand_moves_clocks_and_power(here):
    here.inside(lambda rig: tampering.set_skew(hand.named(rig.world, "10.0.1.12"), 90))
    assert here.inside(lambda rig: rig.ok("pve2", "timedatectl show --property=NTPSynchronized --value")) == "no\n"
    assert here.inside(lambda rig: rig.ok("pve1", "timedatectl show --property=NTPSynchronized --value")) == "yes\n"
    here.inside(lambda rig: hand.set_power(rig.machine("pve2"), "reboot"))
    shown = here.inside(lambda rig: {row["name"]: row for row in hand.machines(rig.world)})
    assert (shown["pve2"]["phase"], shown["pve2"]["boots"], shown["pve2"]["clockSkew"]) == ("booting", 2, 90)


def test_a_reboot_takes_its_time(tmp_path: Path):
    with served(tmp_path, 1) as made:
        made.inside(lambda rig: rig.ok("pve1", "reboot"))
        made.wait(5)
        assert made.port("pve1", 22) is None
        made.wait(40)
        assert made.port("pve1", 22) is not None
        assert made.port("pve1", 8006) is not None
