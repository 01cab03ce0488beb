"""A disk image as Debian's cloud images are: GPT, a loader at the removable path, ext4, cloud-init."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from ocifree_pipeline_tests.real.images import debian

ROOT_ID, ESP_ID = "2b0f5a58-7a3e-4c71-9f53-0c1f7a0e3d11", "0C1F-AEE5"
ESP_MIB, ROOT_MIB = 64, 2800
_TABLE = f"""label: gpt
size={ESP_MIB}MiB, type=U, name=EFI
type=L, name=root
"""
_FSTAB = f"""UUID={ROOT_ID} / ext4 errors=remount-ro 0 1
UUID={ESP_ID} /boot/efi vfat umask=0077 0 1
"""
_LOADER = f"""search.fs_uuid {ROOT_ID} root
set prefix=($root)/boot/grub
configfile $prefix/grub.cfg
"""
_MENU = f"""set timeout=0
menuentry "Debian" {{
  search.fs_uuid {ROOT_ID} root
  linux /vmlinuz root=UUID={ROOT_ID} ro console=tty0 console=ttyS0,115200
  initrd /initrd.img
}}
"""


def make(root: Path, target: Path) -> Path:
    """The qcow2 of what is in `root`; nothing is mounted."""
    work = target.parent
    (root / "etc/fstab").write_text(_FSTAB)
    (root / "etc/hostname").write_text("localhost\n")
    (root / "boot/efi").mkdir(parents=True, exist_ok=True)
    (root / "boot/grub").mkdir(parents=True, exist_ok=True)
    (root / "boot/grub/grub.cfg").write_text(_MENU)
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    # The loader looks for modules beside its menu, as after `grub-install`.
    shutil.copytree(root / "usr/lib/grub/x86_64-efi", root / "boot/grub/x86_64-efi", dirs_exist_ok=True)
    esp, disk = work / "esp.raw", work / "disk.raw"
    with esp.open("wb") as file:
        file.truncate(ESP_MIB << 20)
    _run("mkfs.vfat", "-F", "32", "-i", ESP_ID.replace("-", ""), str(esp))
    (work / "grub.cfg").write_text(_LOADER)
    _run("mmd", "-i", str(esp), "::EFI", "::EFI/BOOT", "::EFI/debian")
    monolithic = root / "usr/lib/grub/x86_64-efi/monolithic/grubx64.efi"
    _run("mcopy", "-i", str(esp), str(monolithic), "::EFI/BOOT/BOOTX64.EFI")
    _run("mcopy", "-i", str(esp), str(work / "grub.cfg"), "::EFI/debian/grub.cfg")
    offset = (1 + ESP_MIB) << 20
    with disk.open("wb") as file:
        file.truncate(offset + (ROOT_MIB + 1 << 20))
    _run("sfdisk", "--quiet", str(disk), given=_TABLE)
    _run("dd", f"if={esp}", f"of={disk}", "bs=1M", "seek=1", "conv=notrunc,sparse", "status=none")
    _run("mke2fs", "-q", "-t", "ext4", "-U", ROOT_ID, "-L", "root", "-d", str(root),
         "-E", f"offset={offset}", str(disk), f"{ROOT_MIB}M")  # fmt: skip
    _run("qemu-img", "convert", "-O", "qcow2", str(disk), str(target))
    for one in (esp, disk):
        one.unlink()
    return target


def programs() -> tuple[str, ...]:
    return ("mmdebstrap", "sfdisk", "mkfs.vfat", "mcopy", "mke2fs", "qemu-img")


def of_debian(folder: Path, packages: Path) -> Path:
    """Debian with a folder of packages in /srv/packages, which is where a build finds those that are not Debian's."""
    root = debian.unpacked(folder)
    shutil.copytree(packages, root / "srv/packages")
    try:
        return make(root, folder / "debian.qcow2")
    finally:
        shutil.rmtree(root)


def _run(*words: str, given: str = "") -> None:
    done = subprocess.run(words, input=given, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
