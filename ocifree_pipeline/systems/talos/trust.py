"""TLS with a Talos node: as an administrator of its cluster, or with a node that has no cluster yet.

A node that has its configuration shows a certificate of the cluster's authority and wants one in return. One that has
none shows a certificate that nobody signed; its fingerprint is on its console, and only that one is spoken with.
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import ssl
import tempfile
from pathlib import Path
from typing import Any

from ocifree_pipeline.deployment.errors import Transient
from ocifree_pipeline.systems.talos.certificates import Pair, portable_key

HTTP2 = "h2"
LOOK_SECONDS = 15.0
_FINGERPRINT = re.compile(r"fingerprint[^\n]*?(?<![A-Za-z0-9+/])([A-Za-z0-9+/]{43}=)")


class NotTheNode(ssl.SSLError):
    """Another key than the one whose fingerprint the console showed."""


class Trust(ssl.SSLContext):
    """Whom we speak with. `refusal` is what the other side said when it hung up on us after the handshake."""

    pinned: str | None = None
    refusal: str | None = None


class _Watched(ssl.SSLObject):
    """TLS 1.3 tells a client that it is not welcome only after the handshake, while it reads."""

    def do_handshake(self) -> None:
        super().do_handshake()
        context = self.context
        if isinstance(context, Trust) and context.pinned is not None:
            shown = key_fingerprint(self.getpeercert(binary_form=True) or b"")
            if shown != context.pinned:
                raise NotTheNode(f"it shows {shown}, and the console {context.pinned}")

    def read(self, *arguments: Any) -> Any:
        try:
            return super().read(*arguments)
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError, ssl.SSLEOFError):
            raise
        except ssl.SSLError as error:
            if isinstance(self.context, Trust):
                self.context.refusal = (error.reason or str(error)).replace("_", " ").lower()
            raise


def as_administrator(authority: str, client: Pair) -> Trust:
    """With nodes of the cluster whose authority this is (PEM)."""
    context = _context()
    context.load_verify_locations(cadata=authority)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "client.pem"
        file.touch(0o600)
        file.write_text(portable_key(client) + client.certificate)
        context.load_cert_chain(file)
    return context


def with_fingerprint(fingerprint: str) -> Trust:
    """With the one node that has this key, before it belongs to a cluster."""
    context = _context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.pinned = fingerprint
    return context


def fingerprint_on(console: str) -> str | None:
    """The one that a node in maintenance mode printed last."""
    found = _FINGERPRINT.findall(console)
    return str(found[-1]) if found else None


def fingerprint_at(address: tuple[str, int]) -> str:
    """Of the key that whoever listens there shows. It proves nothing by itself: the way there has to."""
    context = _context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(address, timeout=LOOK_SECONDS) as plain,
            context.wrap_socket(plain) as secure,
        ):
            return key_fingerprint(secure.getpeercert(binary_form=True) or b"")
    except OSError as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise Transient("the node shows no certificate", why=why, fix="look again in a minute") from error


def key_fingerprint(certificate: bytes) -> str:
    """SHA-256 of the public key of a certificate (DER), in base64 as Talos prints it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from cryptography.x509 import load_der_x509_certificate

    public = load_der_x509_certificate(certificate).public_key()
    written = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(written).digest()).decode()


def _context() -> Trust:
    context = Trust(ssl.PROTOCOL_TLS_CLIENT)
    context.sslobject_class = _Watched
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([HTTP2])
    return context
