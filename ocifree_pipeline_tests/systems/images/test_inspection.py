"""What is on a disk decides the firmware; a file that is something else is called by its name."""

import pytest

from ocifree_pipeline.sandbox.disks.making import make_qcow2
from ocifree_pipeline.systems.images.disk import UnusableImage
from ocifree_pipeline.systems.images.inspection import firmware_for, look_into
from ocifree_pipeline_tests.systems.images import disks


def with_esp(file_system: bytes, *, boot_code: bytes = b"", packed: bool = False) -> bytes:
    ext4 = bytes(1080) + b"\x53\xef" + bytes(3000)
    sectors = 64 + -(-len(file_system) // 512)
    parts = [(disks.ESP, "EFI", 64, file_system), (disks.LINUX, "root", sectors, ext4)]
    return disks.of_disk(disks.gpt(parts, sectors + 128, boot_code), packed=packed)


@pytest.fixture
def seen(tmp_path):
    def look(content: bytes):
        path = tmp_path / "disk.qcow2"
        path.write_bytes(content)
        return look_into(path)

    return look


@pytest.mark.parametrize("bits", [12, 16, 32])
@pytest.mark.parametrize("packed", [False, True])
def test_the_loader_is_found_in_every_kind_of_fat(seen, bits, packed):
    tree = {"BOOT": ["BOOTAA64.EFI", "GRUB.CFG"], "DEBIAN": ["SHIM.EFI"]}
    image = seen(with_esp(disks.fat(bits, tree, decoys=40), packed=packed))
    assert {"BOOTAA64.EFI", "GRUB.CFG", "DECOY007.TXT"} <= image.loaders
    assert "SHIM.EFI" not in image.loaders
    assert image.partitions == ("EFI", "root")
    assert image.file_systems[1] == "ext4"
    assert firmware_for(image, "arm64", "x") == "UEFI_64"


@pytest.mark.parametrize(
    ("files", "boot_code", "architecture", "result"),
    [
        (["BOOTAA64.EFI"], b"", "arm64", "UEFI_64"),
        (["BOOTX64.EFI"], b"", "amd64", "UEFI_64"),
        (["BOOTX64.EFI"], b"\xeb", "amd64", "UEFI_64"),
        ([], b"\xeb", "amd64", "BIOS"),
        (["BOOTAA64.EFI", "BOOTX64.EFI"], b"", "amd64", "UEFI_64"),
    ],
)
def test_firmware_follows_from_what_is_there(seen, files, boot_code, architecture, result):
    image = seen(with_esp(disks.fat(12, {"BOOT": files}), boot_code=boot_code))
    assert firmware_for(image, architecture, "x") == result


@pytest.mark.parametrize(
    ("files", "boot_code", "architecture", "why"),
    [
        (["BOOTX64.EFI"], b"\xeb", "arm64", "made for amd64"),
        (["BOOTAA64.EFI"], b"", "amd64", "made for arm64"),
        ([], b"\xeb", "arm64", "EFI/BOOT/BOOTAA64.EFI"),
        ([], b"", "amd64", "EFI/BOOT/BOOTX64.EFI"),
    ],
)
def test_an_image_that_starts_nothing_is_refused_before_gigabytes_are_moved(seen, files, boot_code, architecture, why):
    image = seen(with_esp(disks.fat(12, {"BOOT": files}), boot_code=boot_code))
    with pytest.raises(UnusableImage) as caught:
        firmware_for(image, architecture, "lab")
    assert why in caught.value.why


def test_a_table_with_a_wrong_checksum_is_no_table(seen):
    disk = bytearray(disks.gpt([(disks.ESP, "EFI", 64, disks.fat(12, {"BOOT": ["BOOTAA64.EFI"]}))], 600))
    disk[1024 + 20] ^= 1
    assert seen(disks.of_disk(bytes(disk))).loaders == frozenset()


def test_a_directory_that_goes_in_a_circle_ends(seen):
    broken = bytearray(disks.fat(16, {"BOOT": ["BOOTAA64.EFI"]}))
    broken[32 * 512 + 4 : 32 * 512 + 6] = (2).to_bytes(2, "little")
    assert "BOOTAA64.EFI" in seen(with_esp(bytes(broken))).loaders


def test_the_images_of_the_sandbox_are_read_by_this_reader_too(seen):
    image = seen(make_qcow2(("aarch64", "x86_64"), boot_code=True, label="STATE", virtual_gb=40))
    assert image.loaders >= {"BOOTAA64.EFI", "BOOTX64.EFI"}
    assert (image.starts_on_bios, image.partitions, image.virtual_size) == (True, ("EFI", "STATE"), 40 * 1024**3)


@pytest.mark.parametrize(
    ("content", "what", "fix"),
    [
        (b"KDMV" + bytes(600), "a VMDK image", "qemu-img convert -f vmdk"),
        (bytes(510) + b"\x55\xaa" + bytes(90), "a raw disk", "qemu-img convert -f raw"),
        (b"\xfd7zXZ\0" + bytes(90), "packed with xz", "xz -d"),
        (b"conectix" + bytes(600), "a VHD image", "vpc"),
        (bytes(257) + b"ustar" + bytes(300), "a tar archive", "unpack"),
        (b"\n<!doctype html><title>Login</title>", "a web page", "address of the file"),
        (b"hello", "no disk image of a known kind", "qcow2"),
        (b"", "no disk image of a known kind", "qcow2"),
    ],
)
def test_other_files_are_called_by_their_name(seen, content, what, fix):
    with pytest.raises(UnusableImage) as caught:
        seen(content)
    assert what in caught.value.what
    assert fix in caught.value.fix
