"""Every provisioning step in a real Debian, twice: the second time there is nothing left to do."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ocifree_pipeline.systems.packer.contents import packages_in
from ocifree_pipeline_tests.real.images import debian, packages
from ocifree_pipeline_tests.real.images.packages import Repositories
from ocifree_pipeline_tests.systems.packer.provisioned import SCRIPTS
from ocifree_pipeline_tests.test_packer_templates import BUILDS, steps

pytestmark = [pytest.mark.real("Debian and its packages"), pytest.mark.timeout(5400)]

LOADER = b"the loader that the distribution put there"
RENEWED = ("var/lib/apt", "var/cache", "var/log", "tmp", "run", "proc", "sys", "dev", "root/.gnupg")
"""What a second run writes again because only the world outside can tell whether there is something to do."""


@dataclass(frozen=True, slots=True)
class Root:
    """A Debian in a folder, and the steps in it."""

    folder: Path
    repositories: Repositories

    def says(self, *words: str, **environ: str) -> str:
        done = debian.inside(self.folder, *words, environ=environ)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def run(self, *names: str, **changes: str) -> str:
        environ = {
            "OCIFREE_ARCHITECTURE": "amd64",
            "OCIFREE_DEBIAN": str(debian.RELEASE),
            "OCIFREE_PROXMOX_KERNEL": "distribution",
            "OCIFREE_CEPH_RELEASE": "tentacle",
            **self.repositories.environ(),
            **changes,
        }
        return self.says("sh", "/srv/scripts/run.sh", *names, **environ)

    def tree(self) -> dict[str, tuple[int, str]]:
        """Every file by what is in it; those that a run renews are left out."""
        found: dict[str, tuple[int, str]] = {}
        for at, folders, files in os.walk(self.folder):
            here = Path(at).relative_to(self.folder)
            folders[:] = [one for one in folders if str(here / one) not in RENEWED]
            for name in files:
                path = Path(at) / name
                found[str(here / name)] = (path.lstat().st_mode, _content(path))
        return found

    def text(self, path: str) -> str:
        return (self.folder / path).read_text("utf-8")

    def versions(self) -> dict[str, str]:
        self.run("packages")
        return {one.name: one.version for one in packages_in(self.text("tmp/ocifree-packages.tsv"))}


def _content(path: Path) -> str:
    if path.is_symlink():
        return f"-> {path.readlink()}"
    if not path.is_file():
        return "no file"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    debian.require("mmdebstrap", "unshare", *packages.PROGRAMS)
    repositories = packages.repositories(tmp_path / "repositories")
    folder = debian.unpacked(tmp_path)
    shutil.copytree(repositories.folder, folder / "srv/packages")
    shutil.copytree(SCRIPTS, folder / "srv/scripts")
    loader = folder / "boot/efi/EFI/BOOT/BOOTX64.EFI"
    loader.parent.mkdir(parents=True, exist_ok=True)
    loader.write_bytes(LOADER)
    yield Root(folder, repositories)
    shutil.rmtree(folder)


def _changed(before: dict[str, tuple[int, str]], after: dict[str, tuple[int, str]]) -> list[str]:
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def test_a_second_run_changes_nothing(root: Root) -> None:
    """Both images in one Debian, as the one is made on the other; `compact` wants a disk."""
    base = [name for name in steps(BUILDS["base-hardened"]) if name not in ("identity", "compact")]
    more = [name for name in steps(BUILDS["proxmox-ampere"]) if name not in (*base, "identity", "compact")]
    root.run(*base)
    before = root.tree()
    told = root.run(*base)
    assert _changed(before, root.tree()) == []
    assert not [line for line in told.splitlines() if line.startswith("  ")]

    _hardened(root)
    root.run(*more, "initramfs", "console")
    _proxmox(root)
    before = root.tree()
    root.run(*more, "initramfs", "console")
    assert _changed(before, root.tree()) == []

    root.run("identity")
    before = root.tree()
    root.run("identity")
    assert _changed(before, root.tree()) == []
    _nobodys(root)


def _hardened(root: Root) -> None:
    """What can be seen without starting it; the rest is asked of a machine."""
    assert root.says("passwd", "-S", "root").startswith("root L ")
    for unit in ("ssh", "nftables", "chrony", "tailscaled"):
        assert root.says("systemctl", "is-enabled", unit) == "enabled\n"
    assert root.versions()["tailscale"] == packages.TAILSCALE[0].version
    assert "console=tty0 console=ttyS0,115200" in root.text("boot/grub/grub.cfg")
    assert (root.folder / "boot/efi/EFI/BOOT/BOOTX64.EFI").read_bytes() == LOADER
    kernel = next(root.folder.glob("boot/initrd.img-*")).name
    assert "virtio_scsi.ko" in root.says("lsinitramfs", f"/boot/{kernel}")


def _proxmox(root: Root) -> None:
    wanted = {one.name: one.version for one in (*packages.PVE, *packages.CEPH)}
    found = root.versions()
    kernel = {"proxmox-ve", "proxmox-default-kernel", "proxmox-archive-keyring"}
    assert {name: found.get(name) for name in wanted if name not in kernel} == {
        name: version for name, version in wanted.items() if name not in kernel
    }
    assert not kernel & found.keys(), "Debian's kernel was chosen"
    assert not list(root.folder.glob("var/lib/pve-cluster/config.db*")), "a service was started in the build"
    assert not (root.folder / "usr/sbin/policy-rc.d").exists()
    assert "* postfix/main_mailer_type: Local only" in root.says("debconf-show", "postfix")
    # No repository that asks for a subscription is read, and what is switched off stays so over an update.
    assert "enterprise" not in root.says("apt-get", "update")
    assert root.text("etc/apt/sources.list.d/pve-enterprise.sources").endswith("Enabled: no\n")
    root.says("apt-get", "install", "--reinstall", "-y", "proxmox-widget-toolkit")
    assert "(false)" in root.text(packages.NOTICE)
    assert "bridge-ports none" in root.text("etc/network/interfaces.d/ocifree-bridge")
    root.run("proxmox", OCIFREE_PROXMOX_KERNEL="proxmox")
    assert "proxmox-default-kernel" in root.versions()


def _nobodys(root: Root) -> None:
    assert root.text("etc/machine-id") == ""
    assert not list(root.folder.glob("etc/ssh/ssh_host_*"))
    assert not list(root.folder.glob("var/lib/apt/lists/*Packages*"))


def test_a_key_that_is_another_installs_nothing(root: Root) -> None:
    done = debian.inside(
        root.folder,
        *("sh", "/srv/scripts/run.sh", "proxmox-repositories"),
        environ={
            **root.repositories.environ(),
            "OCIFREE_CEPH_RELEASE": "tentacle",
            "OCIFREE_PROXMOX_KEYRING_SHA256": "0" * 64,
        },
    )
    assert done.returncode == 65
    assert "is not the key that was expected" in done.stderr
    assert not (root.folder / "etc/apt/sources.list.d/proxmox.sources").exists()
