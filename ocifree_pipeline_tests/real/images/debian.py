"""A Debian made here from its packages, from the mirrors that this machine is set up with."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from ocifree_pipeline_tests.real.programs import program

RELEASE, CODENAME = 13, "trixie"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PACKAGES = (
    *("systemd-sysv", "systemd-resolved", "libpam-systemd", "dbus", "udev", "e2fsprogs", "dosfstools", "fdisk", "zstd"),
    *("linux-image-cloud-amd64", "initramfs-tools", "grub-efi-amd64", "cloud-init", "cloud-guest-utils", "netplan.io"),
    *("openssh-server", "sudo", "iproute2", "ca-certificates", "curl", "unattended-upgrades"),
)
"""What Debian's generic cloud image is made of, as far as a build sees it."""
AGE_SECONDS = 7 * 24 * 3600
MAKING_SECONDS = 3600


def require(*programs: str) -> None:
    """The test is skipped where one is missing, or where nobody may make a root folder."""
    for one in programs:
        if shutil.which(one) is None:
            pytest.skip(f"{one} is not on the PATH (docs/images.md says what to install)")
    if os.geteuid() != 0:
        pytest.skip("only root makes a Debian with mmdebstrap here, and changes root into it")
    if not KEYRING.exists():
        pytest.skip("debian-archive-keyring is not installed")


def sources() -> list[str]:
    """The lines for apt: Debian's own places as this machine names them, for the release of the image."""
    said = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(LABEL)|$(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    places = dict(line.split("|", 1) for line in said.splitlines() if line)
    if "Debian" not in places:
        pytest.skip("no mirror of Debian is set up on this machine")
    lines = [f"deb {places['Debian']} {CODENAME} main", f"deb {places['Debian']} {CODENAME}-updates main"]
    security = places.get("Debian-Security")
    return [*lines, f"deb {security} {CODENAME}-security main"] if security else lines


def archive() -> Path:
    """The root of a Debian as a tar file; made once and kept for a week, as it takes minutes."""
    mmdebstrap = program("mmdebstrap")
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ocifree" / "debian"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{CODENAME}-amd64.tar"
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists() and time.time() - target.stat().st_mtime < AGE_SECONDS:
            return target
        part = target.with_suffix(".part")
        # Manuals and translations are nobody's concern here, and take time in an emulated machine.
        made = subprocess.run(
            [
                *("nice", mmdebstrap, "--mode=root", "--variant=minbase", "--architectures=amd64", "--format=tar"),
                *(f"--keyring={KEYRING}", f"--include={','.join(PACKAGES)}"),
                '--aptopt=Acquire::Languages "none"',
                *(f"--dpkgopt=path-exclude=/usr/share/{one}/*" for one in ("man", "doc", "locale")),
                *(CODENAME, str(part), *sources()),
            ],
            capture_output=True,
            text=True,
            timeout=MAKING_SECONDS,
            check=False,
        )
        assert made.returncode == 0, made.stderr[-3000:]
        part.replace(target)
        return target


def unpacked(folder: Path) -> Path:
    """The root in a folder of its own, as nobody's machine: no id, no keys, no name."""
    root = folder / "root"
    root.mkdir()
    subprocess.run(["tar", "-x", "-f", archive(), "-C", root, "--numeric-owner"], timeout=600, check=True)
    for one in (*root.glob("etc/ssh/ssh_host_*"), root / "etc/hostname", root / "etc/resolv.conf"):
        one.unlink(missing_ok=True)
    (root / "etc/machine-id").write_text("")
    return root


def inside(root: Path, *words: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A program in it, with what programs expect of a running system. The mounts are its own and end with it."""
    enter = 'mount -t proc proc "$0/proc" && mount -t sysfs -o ro sys "$0/sys" && mount -t devtmpfs dev "$0/dev" && '
    shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")
    return subprocess.run(
        ["unshare", "--mount", "nice", "sh", "-c", f'{enter} exec chroot "$0" "$@"', str(root), *words],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=MAKING_SECONDS,
        check=False,
    )
