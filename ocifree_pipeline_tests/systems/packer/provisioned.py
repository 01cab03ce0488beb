"""A folder that plays the root of a Debian, with commands that keep a state instead of changing this computer."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from ocifree_pipeline.systems.packer.template import template_folder

SCRIPTS = template_folder() / "scripts"
FINGERPRINT = "A" * 40
KEY = b"the key of Proxmox"

_COMMANDS = {
    "apt-get": """
case " $* " in *" install "*)
  skip=
  for one in "$@"; do
    if [ -n "$skip" ]; then skip=; continue; fi
    case $one in -o) skip=1 ;; -*|install) ;; *) : >"$STATE/installed/$one" ;; esac
  done
esac""",
    "cloud-init": "",
    "debconf-set-selections": """
read -r owner question kind value
printf '* %s: %s\\n' "$question" "$value" >>"$STATE/debconf/$owner" """,
    "fstrim": "",
    "grub-install": """
case " $* " in *x86_64-efi*) name=BOOTX64.EFI ;; *) name=BOOTAA64.EFI ;; esac
mkdir -p "$OCIFREE_ROOT/boot/efi/EFI/BOOT"; : >"$OCIFREE_ROOT/boot/efi/EFI/BOOT/$name" """,
    "sync": "",
    "update-grub": "",
    "update-initramfs": "",
}
_ASKED = {
    "curl": """
while [ $# -gt 1 ]; do [ "$1" = -o ] && target=$2; shift; done
cp "$STATE/keys/${1##*/}" "$target" """,
    "debconf-show": 'cat "$STATE/debconf/$1" 2>/dev/null; true',
    "dpkg-query": """
for package; do :; done
case $package in
  -f=*) for one in "$STATE"/installed/*; do printf 'installed %s\\t1.0\\tall\\n' "${one##*/}"; done ;;
  *) [ -e "$STATE/installed/$package" ] && printf installed ;;
esac""",
    "gpg": 'for file; do :; done; printf "pub:::\\nfpr:::::::::%s:\\n" "$(cat "$file")"',
    "passwd": """
case $1 in
  -S) [ -e "$STATE/locked" ] && echo "root L 2026-01-01" || echo "root P 2026-01-01" ;;
  -l) : >"$STATE/locked"; echo "passwd $*" >>"$STATE/log" ;;
esac""",
    "systemctl": """
for unit; do :; done
case $1 in
  is-enabled) [ -e "$STATE/enabled/$unit" ] ;;
  enable) : >"$STATE/enabled/$unit"; echo "systemctl $*" >>"$STATE/log" ;;
esac""",
}

Tree = dict[str, tuple[int, int, str]]


@dataclass
class Debian:
    """Where the steps are tried."""

    folder: Path
    release: str = 'ID=debian\nVERSION_ID="13"\nVERSION_CODENAME=trixie\n'
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root, self.state, self.bin = (self.folder / name for name in ("root", "state", "bin"))
        for path in (self.root / "etc", self.root / "tmp", self.root / "var/log/apt", self.bin):
            path.mkdir(parents=True)
        for name in ("installed", "enabled", "debconf", "keys"):
            (self.state / name).mkdir(parents=True)
        (self.root / "etc/os-release").write_text(self.release, "utf-8")
        for name, body in (_COMMANDS | _ASKED).items():
            log = f'echo "{name} $*" >>"$STATE/log"\n' if name in _COMMANDS else ""
            (self.bin / name).write_text(f"#!/bin/sh\nset -eu\n{log}{body}\n", "utf-8")
            (self.bin / name).chmod(0o755)
        (self.state / "keys/trixie.noarmor.gpg").write_text(FINGERPRINT, "utf-8")
        (self.state / "keys/proxmox.gpg").write_bytes(KEY)
        self.variables = {
            "OCIFREE_ARCHITECTURE": "arm64",
            "OCIFREE_DEBIAN": "13",
            "OCIFREE_TAILSCALE_REPOSITORY": "https://tailscale.example/debian",
            "OCIFREE_TAILSCALE_FINGERPRINT": FINGERPRINT,
            "OCIFREE_PROXMOX_REPOSITORY": "https://proxmox.example/debian",
            "OCIFREE_PROXMOX_KEYRING": "https://proxmox.example/proxmox.gpg",
            "OCIFREE_PROXMOX_KEYRING_SHA256": hashlib.sha256(KEY).hexdigest(),
            "OCIFREE_PROXMOX_KERNEL": "distribution",
            "OCIFREE_CEPH_RELEASE": "tentacle",
        } | self.variables

    def run(self, *steps: str) -> subprocess.CompletedProcess[str]:
        """These steps, in their order, as a build runs them."""
        environ = {
            "PATH": f"{self.bin}:{os.defpath}",
            "STATE": str(self.state),
            "OCIFREE_ROOT": str(self.root),
            **self.variables,
        }
        return subprocess.run(
            ["sh", str(SCRIPTS / "run.sh"), *steps],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def good(self, *steps: str) -> str:
        done = self.run(*steps)
        assert (done.returncode, done.stderr) == (0, ""), json.dumps([done.stdout, done.stderr])
        return done.stdout

    def calls(self) -> list[str]:
        """The commands that would have changed something since the last time this was asked."""
        log = self.state / "log"
        lines = log.read_text("utf-8").splitlines() if log.exists() else []
        log.write_text("", "utf-8")
        return lines

    def tree(self) -> Tree:
        """Every file with its mode, the time of its last change, and its content."""
        found: Tree = {}
        for path in sorted(self.root.rglob("*")):
            status = path.lstat()
            content = str(path.readlink()) if path.is_symlink() else path.read_text("utf-8") if path.is_file() else ""
            at = status.st_mtime_ns if path.is_file() and not path.is_symlink() else 0
            found[str(path.relative_to(self.root))] = (status.st_mode, at, content)
        return found

    def put(self, path: str, content: str) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, "utf-8")
        return target

    def text(self, path: str) -> str:
        return (self.root / path).read_text("utf-8")
