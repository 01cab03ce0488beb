"""What an import sees in a file: real formats, written here byte by byte or by the maker of small disks."""

import io
import json
import struct
import tarfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocifree_pipeline.sandbox.disks import making, partitions
from ocifree_pipeline.sandbox.disks.inspection import inspect
from ocifree_pipeline.sandbox.disks.qcow2 import Qcow2

SECTOR = 512
CLUSTER = 65536


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The raw bytes of a small bootable disk, for Arm and with boot code."""
    path = making.write_qcow2(tmp_path_factory.mktemp("disk") / "d.qcow2", ("aarch64",), boot_code=True, virtual_gb=1)
    with path.open("rb") as file:
        return Qcow2(file).read(0, making.DISK_SECTORS * SECTOR)


@pytest.mark.parametrize(
    "loaders", [(), ("aarch64",), ("x86_64",), ("aarch64", "x86_64")], ids=lambda names: "+".join(names) or "none"
)
@pytest.mark.parametrize("boot_code", [False, True])
def test_a_made_disk_is_seen_as_it_was_made(tmp_path: Path, loaders: tuple[str, ...], boot_code: bool) -> None:
    path = making.write_qcow2(tmp_path / "d.qcow2", loaders, boot_code=boot_code, label="STATE", virtual_gb=7)
    found = inspect(path, "QCOW2")
    assert (found.broken, found.opaque) == ("", "")
    assert found.loaders == loaders
    assert found.boot_code is boot_code
    assert found.labels == ("EFI", "STATE")
    assert found.size_bytes == 7 * 1024**3


def test_the_file_is_smaller_than_the_disk(tmp_path: Path) -> None:
    assert making.write_qcow2(tmp_path / "d.qcow2", virtual_gb=50).stat().st_size < 1024**2


def compressed_qcow2(disk: bytes) -> bytes:
    """The disk with every cluster deflated, as ``qemu-img convert -c`` lays it out."""
    chunks = [disk[at : at + CLUSTER].ljust(CLUSTER, b"\0") for at in range(0, len(disk), CLUSTER)]
    data, entries, at = b"", [], 3 * CLUSTER
    for chunk in chunks:
        packer = zlib.compressobj(9, zlib.DEFLATED, -12)
        packed = packer.compress(chunk) + packer.flush()
        sectors = (at % SECTOR + len(packed) - 1) // SECTOR
        entries.append(1 << 62 | sectors << 54 | at)
        data, at = data + packed, at + len(packed)
    head = struct.pack(">4sIQIIQIIQ", b"QFI\xfb", 2, 0, 0, 16, 1024**3, 0, 2, CLUSTER).ljust(CLUSTER, b"\0")
    first = struct.pack(">Q", 2 * CLUSTER).ljust(CLUSTER, b"\0")
    second = b"".join(struct.pack(">Q", one) for one in entries).ljust(CLUSTER, b"\0")
    return head + first + second + data


def stream_vmdk(disk: bytes) -> bytes:
    """The disk as a stream-optimised VMDK: deflated grains, the directory behind them, a footer at the end."""
    grain, per_table = 128 * SECTOR, 512
    body, table = b"", []
    for at in range(0, len(disk), grain):
        table.append(1 + len(body) // SECTOR + 127)
        packed = zlib.compress(disk[at : at + grain].ljust(grain, b"\0"))
        marker = struct.pack("<QI", at // SECTOR, len(packed)) + packed
        body += marker.ljust(-(-len(marker) // SECTOR) * SECTOR, b"\0")
    tables_at = 128 + len(body) // SECTOR
    tables = b"".join(struct.pack("<I", one) for one in table).ljust(per_table * 4, b"\0")
    directory_at = tables_at + len(tables) // SECTOR
    capacity = 128 * per_table
    directory = struct.pack("<I", tables_at).ljust(SECTOR, b"\0")

    def header(directory_sector: int) -> bytes:
        fields = struct.pack(
            "<4sIIQQQQIQQQ", b"KDMV", 3, 3 << 16 | 1, capacity, 128, 0, 0, per_table, 0, directory_sector, 128
        )
        return fields.ljust(SECTOR, b"\0")

    start = header(0xFFFFFFFFFFFFFFFF).ljust(128 * SECTOR, b"\0")
    return start + body + tables + directory + header(directory_at) + bytes(SECTOR)


def oci_archive(inner: bytes, metadata: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in (("image_metadata.json", metadata), ("output.QCOW2", inner)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def test_compressed_clusters_are_read(tmp_path: Path, disk: bytes) -> None:
    path = tmp_path / "d.qcow2"
    path.write_bytes(compressed_qcow2(disk))
    with path.open("rb") as file:
        assert Qcow2(file).read(0, len(disk)) == disk
    assert inspect(path, "QCOW2").loaders == ("aarch64",)


def test_stream_optimised_vmdk_is_read(tmp_path: Path, disk: bytes) -> None:
    path = tmp_path / "d.vmdk"
    path.write_bytes(stream_vmdk(disk))
    found = inspect(path, "VMDK")
    assert (found.broken, found.loaders, found.boot_code) == ("", ("aarch64",), True)


def test_an_archive_brings_its_launch_options(tmp_path: Path, disk: bytes) -> None:
    metadata = json.dumps({"version": 2, "externalLaunchOptions": {"firmware": "UEFI_64"}}).encode()
    path = tmp_path / "d.oci"
    path.write_bytes(oci_archive(compressed_qcow2(disk), metadata))
    found = inspect(path, "QCOW2")
    assert (found.broken, found.loaders, found.launch_options) == ("", ("aarch64",), {"firmware": "UEFI_64"})


def with_bytes(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        ("QCOW2", lambda data: with_bytes(data, 0, b"QFX\xfb"), "does not begin with the QCOW2 magic"),
        ("QCOW2", lambda data: data[:40], "ends inside the QCOW2 header"),
        ("QCOW2", lambda _data: b"", "ends inside the QCOW2 header"),
        ("QCOW2", lambda data: with_bytes(data, 4, b"\0\0\0\7"), "version is 7"),
        ("QCOW2", lambda data: with_bytes(data, 8, b"\0" * 7 + b"\1"), "backing file"),
        ("QCOW2", lambda data: with_bytes(data, 32, b"\0\0\0\1"), "encrypted"),
        ("QCOW2", lambda data: with_bytes(data, 20, b"\0\0\0\x3f"), "cluster size"),
        ("QCOW2", lambda data: with_bytes(data, 36, b"\xff" * 4), "entries"),
        ("QCOW2", lambda data: with_bytes(data, 3 * CLUSTER, b"\xff" * 64), "cannot be unpacked"),
        ("QCOW2", lambda data: data[: CLUSTER + 4], "ends inside the first QCOW2 table"),
        ("VMDK", lambda data: data, "does not begin with the VMDK magic"),
        ("VMDK", lambda _data: b"KDMV" + bytes(508), "describes no possible disk"),
        ("VMDK", lambda data: with_bytes(stream_vmdk(data[:CLUSTER]), 0, b"KDMV")[:-1024], "footer is missing"),
    ],
)
def test_a_broken_file_says_what_is_wrong(tmp_path: Path, disk: bytes, kind: str, change, says: str) -> None:
    path = tmp_path / "d"
    path.write_bytes(change(compressed_qcow2(disk)))
    assert says in inspect(path, kind).broken


def test_zstd_is_not_read_and_not_called_broken(tmp_path: Path, disk: bytes) -> None:
    data = bytearray(compressed_qcow2(disk))
    data[4:8] = struct.pack(">I", 3)
    data[100:105] = struct.pack(">IB", 112, 1)
    path = tmp_path / "d.qcow2"
    path.write_bytes(data)
    found = inspect(path, "QCOW2")
    assert found.broken == ""
    assert "zstd" in found.opaque


def test_a_master_boot_record_without_gpt_is_read(disk: bytes) -> None:
    esp = disk[making.ESP_START * SECTOR : (making.ESP_START + making.ESP_SECTORS) * SECTOR]
    first = bytearray(SECTOR)
    first[446:462] = struct.pack("<B3sB3sII", 0x80, b"\0" * 3, 0xEF, b"\0" * 3, 8, making.ESP_SECTORS)
    first[510:512] = b"\x55\xaa"

    class Raw:
        size = 1024**2
        data = bytes(first).ljust(8 * SECTOR, b"\0") + esp

        def read(self, offset: int, length: int) -> bytes:
            return self.data[offset : offset + length].ljust(length, b"\0")

    assert partitions.fallback_loaders(Raw()) == {"BOOTAA64.EFI"}
    assert not partitions.has_boot_code(Raw())


@pytest.fixture(scope="module")
def playground(tmp_path_factory: pytest.TempPathFactory, disk: bytes) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("fuzz")
    (directory / "QCOW2").write_bytes(compressed_qcow2(disk))
    (directory / "VMDK").write_bytes(stream_vmdk(disk))
    return {kind: directory / kind for kind in ("QCOW2", "VMDK")}


FLIPS = st.lists(st.tuples(st.floats(0, 0.999) | st.floats(0, 0.002), st.integers(0, 255)), min_size=1, max_size=8)


@settings(deadline=None)
@given(kind=st.sampled_from(["QCOW2", "VMDK"]), flips=FLIPS, kept=st.floats(0.5, 1))
def test_no_file_can_break_the_inspection(
    playground: dict[str, Path], kind: str, flips: list[tuple[float, int]], kept: float
) -> None:
    """Whatever is flipped or cut: an answer, never an exception."""
    content = bytearray(playground[kind].read_bytes())
    for place, value in flips:
        content[int(place * len(content))] = value
    broken = playground[kind].with_suffix(".broken")
    broken.write_bytes(content[: int(kept * len(content))])
    assert inspect(broken, kind).format == kind
