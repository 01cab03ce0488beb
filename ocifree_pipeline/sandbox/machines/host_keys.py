"""The SSH host key of a guest: made by its first boot, kept on its disk, published on its serial console."""

import base64
import hashlib

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ocifree_pipeline.sandbox.machines.computer import Computer


def private_pem(machine: Computer) -> bytes:
    return _key(machine).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def public_line(machine: Computer) -> str:
    """The key as a known_hosts file wants it, with the usual comment."""
    public = _key(machine).public_key()
    line = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    return f"{line} root@{machine.guest['hostname']}"


def fingerprint(machine: Computer) -> str:
    blob = base64.b64decode(public_line(machine).split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def announcement(machine: Computer) -> list[str]:
    """What cloud-init writes to the console, so that a client can know the key before it connects."""
    now = machine.world.clock.now().strftime("%b %d %H:%M:%S")
    print_ = f"256 {fingerprint(machine)} root@{machine.guest['hostname']} (ED25519)"
    lines = (
        "#" * 61,
        "-----BEGIN SSH HOST KEY FINGERPRINTS-----",
        print_,
        "-----END SSH HOST KEY FINGERPRINTS-----",
        "#" * 61,
    )
    return [
        *(f"<14>{now} cloud-init: {line}" for line in lines),
        "-----BEGIN SSH HOST KEY KEYS-----",
        public_line(machine),
        "-----END SSH HOST KEY KEYS-----",
    ]


def _key(machine: Computer) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(machine.guest["hostKey"]))
