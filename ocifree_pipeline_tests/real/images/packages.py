"""Repositories like those of Tailscale and Proxmox: real names and dependencies, signed, and next to nothing inside."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ocifree_pipeline_tests.real.images.debian import CODENAME

PROGRAMS = ("dpkg-deb", "apt-ftparchive", "gpg")


@dataclass(frozen=True, slots=True)
class Package:
    """`files` by their paths; `after` is what its postinst does."""

    name: str
    version: str
    depends: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    after: str = ""


def _service(what: str) -> str:
    return (
        f"[Unit]\nDescription={what}\n[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
    )


ENTERPRISE = f"""Types: deb
URIs: https://enterprise.proxmox.com/debian/pve
Suites: {CODENAME}
Components: pve-enterprise
Signed-By: /usr/share/keyrings/proxmox-archive-keyring.gpg
"""
NOTICE = "usr/share/javascript/proxmox-widget-toolkit/proxmoxlib.js"
TAILSCALE = (
    Package("tailscale", "1.98.4", "iptables, iproute2", {
        "usr/lib/systemd/system/tailscaled.service": _service("Tailscale node agent"),
        "usr/bin/tailscale": "#!/bin/sh\n",
    }),
)  # fmt: skip
PVE = (
    Package("proxmox-widget-toolkit", "5.1.5", "",
            {NOTICE: "if (res.data.status.toLowerCase() !== 'active') { Ext.Msg.show(); }\n"}),
    Package("libpve-common-perl", "9.1.1", "perl"),
    Package("pve-cluster", "9.1.0", "libpve-common-perl, fuse3, sqlite3", {
        "usr/lib/systemd/system/pve-cluster.service": _service("The Proxmox VE cluster filesystem"),
    }, after="if [ ! -x /usr/sbin/policy-rc.d ]; then touch /var/lib/pve-cluster/config.db; fi"),
    Package("pve-qemu-kvm", "11.0.0-1"),
    Package("qemu-server", "9.1.4", "pve-qemu-kvm, pve-cluster, libpve-common-perl"),
    Package("pve-container", "6.1.0", "pve-cluster"),
    Package("ifupdown2", "3.3.0-1+pmx11", "python3, iproute2", {"etc/network/interfaces.d/.keep": ""}),
    Package("proxmox-archive-keyring", "4.0"),
    Package("pve-manager", "9.2.11",
            "pve-cluster, qemu-server, pve-container, proxmox-widget-toolkit, libpve-common-perl, "
            "default-mta | postfix | mail-transport-agent, ceph-common | perl",
            {"etc/apt/sources.list.d/pve-enterprise.sources": ENTERPRISE}),
    Package("proxmox-default-kernel", "2.1.0"),
    Package("proxmox-ve", "9.2.0", "pve-manager, qemu-server, proxmox-default-kernel"),
)  # fmt: skip
CEPH = tuple(
    Package(name, "20.2.1-pve1", depends)
    for name, depends in (
        ("ceph-common", ""),
        ("ceph-base", "ceph-common (= 20.2.1-pve1)"),
        ("ceph-mon", "ceph-base (= 20.2.1-pve1)"),
        ("ceph-mgr", "ceph-base (= 20.2.1-pve1)"),
        ("ceph-osd", "ceph-base (= 20.2.1-pve1), lvm2"),
        ("ceph-volume", "ceph-osd (= 20.2.1-pve1), lvm2"),
        ("ceph-mds", "ceph-base (= 20.2.1-pve1)"),
        ("ceph-fuse", "ceph-common"),
        ("ceph", "ceph-mgr, ceph-mon, ceph-osd"),
    )
)


@dataclass(frozen=True, slots=True)
class Repositories:
    """A folder with all of them, the fingerprint of the key that signs, and its file."""

    folder: Path
    fingerprint: str

    def environ(self, at: str = "file:///srv/packages") -> dict[str, str]:
        """What the steps are told, where the folder is to be found at `at`."""
        return {
            "OCIFREE_TAILSCALE_REPOSITORY": f"{at}/tailscale",
            "OCIFREE_TAILSCALE_FINGERPRINT": self.fingerprint,
            "OCIFREE_PROXMOX_REPOSITORY": f"{at}/proxmox",
            "OCIFREE_PROXMOX_KEYRING": f"{at}/proxmox.gpg",
            "OCIFREE_PROXMOX_KEYRING_SHA256": hashlib.sha256((self.folder / "proxmox.gpg").read_bytes()).hexdigest(),
        }


def repositories(folder: Path) -> Repositories:
    """Every repository that the steps take packages from which are not Debian's."""
    served = folder / "packages"
    served.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="gpg-") as home:  # its agent listens on a path of 107 letters at most
        gpg = ("gpg", "--batch", "--quiet", "--homedir", home)
        _run(*gpg, "--passphrase", "", "--quick-generate-key", "packages@example.org", "ed25519", "sign", "never")
        listed = _run(*gpg, "--list-keys", "--with-colons").splitlines()
        fingerprint = next(line.split(":")[9] for line in listed if line.startswith("fpr:"))
        key = served / "proxmox.gpg"
        _run(*gpg, "--output", str(key), "--export", fingerprint)
        _repository(gpg, served / "tailscale", "main", TAILSCALE)
        _repository(gpg, served / "proxmox" / "pve", "pve-no-subscription", PVE)
        _repository(gpg, served / "proxmox" / "ceph-tentacle", "no-subscription", CEPH)
        _run("gpgconf", "--homedir", home, "--kill", "all")
    shutil.copyfile(key, served / "tailscale" / f"{CODENAME}.noarmor.gpg")
    return Repositories(served, fingerprint)


def _repository(gpg: tuple[str, ...], folder: Path, component: str, packages: tuple[Package, ...]) -> None:
    pool = folder / "pool"
    pool.mkdir(parents=True)
    for one in packages:
        _deb(one, folder / "building", pool)
    lists = folder / "dists" / CODENAME / component / "binary-amd64"
    lists.mkdir(parents=True)
    (lists / "Packages").write_text(_run("apt-ftparchive", "packages", "pool", where=folder))
    suite = lists.parents[1]
    options = {"Origin": "example", "Codename": CODENAME, "Architectures": "amd64", "Components": component}
    given = [f"-oAPT::FTPArchive::Release::{name}={value}" for name, value in options.items()]
    (suite / "Release").write_text(_run("apt-ftparchive", *given, "release", ".", where=suite))
    _run(*gpg, "--clearsign", "--output", str(suite / "InRelease"), str(suite / "Release"))


def _deb(package: Package, work: Path, pool: Path) -> None:
    control = work / "DEBIAN"
    control.mkdir(parents=True)
    depends = f"Depends: {package.depends}\n" if package.depends else ""
    (control / "control").write_text(
        f"Package: {package.name}\nVersion: {package.version}\nArchitecture: amd64\n"
        f"Maintainer: nobody <packages@example.org>\n{depends}Description: stands for {package.name}\n"
    )
    if package.after:
        (control / "postinst").write_text(f"#!/bin/sh\nset -e\nmkdir -p /var/lib/pve-cluster\n{package.after}\n")
        (control / "postinst").chmod(0o755)
    kept = [f"/{path}\n" for path in package.files if path.startswith("etc/")]
    (control / "conffiles").write_text("".join(kept))
    for path, content in package.files.items():
        target = work / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        target.chmod(0o755 if "/bin/" in path else 0o644)
    _run("dpkg-deb", "--root-owner-group", "--build", str(work), str(pool))
    shutil.rmtree(work)


def _run(*words: str, where: Path | None = None) -> str:
    done = subprocess.run(words, cwd=where, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout
