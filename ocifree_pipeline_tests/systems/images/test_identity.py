"""Real ext4 file systems, made by mkfs.ext4 from a folder, looked into through a qcow2 image."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocifree_pipeline.systems.images.disk import Unreadable
from ocifree_pipeline.systems.images.ext4 import Ext4
from ocifree_pipeline.systems.images.identity import traces_in
from ocifree_pipeline_tests.systems.images import disks

MKFS = shutil.which("mkfs.ext4") or shutil.which("mkfs.ext4", path="/usr/sbin:/sbin")
real = [
    pytest.mark.real("mkfs.ext4"),
    pytest.mark.skipif(MKFS is None, reason="needs mkfs.ext4 (Debian: e2fsprogs)"),
]

Tree = dict[str, bytes]
CLEAN: Tree = {
    "etc/machine-id": b"uninitialized\n",
    "etc/ssh/sshd_config": b"PasswordAuthentication no\n",
    "etc/shadow": b"root:!:20000:0:99999:7:::\nbin:*:20000::::::\n",
    "var/lib/cloud/seed/readme": b"",
}


class Bytes:
    """A disk that is a row of bytes."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)

    def read(self, offset: int, length: int) -> bytes:
        return self.content[offset : offset + length].ljust(length, b"\0")


def ext4(folder: Path, tree: Tree, *options: str, megabytes: int = 12) -> bytes:
    root, file = folder / "root", folder / "ext4"
    root.mkdir()
    for name, content in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    with file.open("wb") as handle:
        handle.truncate(megabytes * 1024 * 1024)
    assert MKFS is not None
    subprocess.run([MKFS, "-q", "-F", *options, "-d", root, file], check=True, capture_output=True)
    return file.read_bytes()


@pytest.fixture
def image(tmp_path: Path) -> Callable[..., Path]:
    def make(tree: Tree, *options: str) -> Path:
        content = ext4(tmp_path, tree, *options)
        disk = disks.gpt([(disks.LINUX, "root", 64, content)], 64 + len(content) // 512 + 64)
        path = tmp_path / "disk.qcow2"
        path.write_bytes(disks.of_disk(disk, packed=True))
        return path

    return make


class TestReal:
    pytestmark = real

    @pytest.mark.parametrize(
        "options",
        [(), ("-b", "1024"), ("-b", "4096", "-I", "128"), ("-O", "^64bit"), ("-O", "^metadata_csum,^has_journal")],
    )
    def test_a_clean_system_is_clean_in_every_layout(self, image, options):
        traces = traces_in(image(CLEAN, *options))
        assert (traces.looked_at, traces.found, traces.unread) == (("root",), (), ())

    @pytest.mark.parametrize(
        ("left", "says"),
        [
            ({"etc/ssh/ssh_host_ed25519_key": b"k"}, "the host key /etc/ssh/ssh_host_ed25519_key"),
            ({"etc/machine-id": b"0123456789abcdef0123456789abcdef\n"}, "a machine id in /etc/machine-id"),
            ({"var/lib/cloud/instances/i-1/user-data.txt": b"x"}, "cloud-init's memory of the instance i-1"),
            ({"var/lib/tailscale/tailscaled.state": b"{}"}, "/var/lib/tailscale/tailscaled.state"),
            ({"home/debian/.ssh/authorized_keys": b"ssh-ed25519 A"}, "keys in /home/debian/.ssh/authorized_keys"),
            ({"etc/shadow": b"root:$6$salt$hash:1::::::\n"}, "a password of root"),
        ],
    )
    def test_each_trace_is_found(self, image, left, says):
        assert traces_in(image(CLEAN | left)).found == (says,)

    def test_large_directories_and_files_in_many_pieces_are_read_whole(self, tmp_path):
        many = {f"etc/many/file-number-{number:05}": b"%d" % number for number in range(3000)}
        content = bytes(range(256)) * 12000
        disk = ext4(tmp_path, {**CLEAN, **many, "etc/big": content}, "-b", "1024", "-N", "4000", megabytes=24)
        system = Ext4.at(Bytes(disk), 0)
        assert set(system.names("/etc/many")) == {name.rpartition("/")[2] for name in many}
        assert system.content("/etc/many/file-number-02999") == b"2999"
        assert system.content("/etc/big") == content
        assert (system.content("/etc/none"), system.content("/etc"), system.names("/etc/big")) == (None, None, ())

    def test_a_system_that_was_not_unmounted_is_not_called_clean(self, tmp_path):
        disk = bytearray(ext4(tmp_path, CLEAN))
        disk[1024 + 96] |= 0x4
        with pytest.raises(Unreadable, match="not unmounted"):
            Ext4.at(Bytes(bytes(disk)), 0)

    def test_a_damaged_system_is_said_to_be_unread_and_never_crashes(self, tmp_path):
        disk = ext4(tmp_path, CLEAN, megabytes=8)

        @given(st.lists(st.tuples(st.integers(1024, 200_000), st.integers(0, 255)), min_size=1, max_size=40))
        @settings(max_examples=60, deadline=None)
        def damaged(changes):
            broken = bytearray(disk)
            for at, value in changes:
                broken[at] = value
            try:
                system = Ext4.at(Bytes(bytes(broken)), 0)
                system.content("/etc/shadow")
                system.names("/var/lib/cloud")
            except Unreadable:
                pass

        damaged()


def test_other_file_systems_are_named_and_not_called_clean(tmp_path):
    xfs = b"XFSB" + bytes(8000)
    disk = disks.gpt([(disks.LINUX, "root", 64, xfs), (disks.LINUX, "data", 128, bytes(512))], 300)
    path = tmp_path / "disk.qcow2"
    path.write_bytes(disks.of_disk(disk))
    traces = traces_in(path)
    assert (traces.looked_at, traces.found) == ((), ())
    assert traces.unread == ("root: xfs", "data: no file system that is known")
