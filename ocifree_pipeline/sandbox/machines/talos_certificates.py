"""The server certificates of a Talos node: signed by the authority of its cluster, or by itself while it has none.

They are dated by the time of this computer and not by the virtual clock, for the clients that check them are real. A
node in life renews its certificate every day; here it lasts as long as anybody keeps a sandbox running.
"""

import base64
import hashlib
import ssl
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ocifree_pipeline.sandbox import private_files
from ocifree_pipeline.sandbox.kubernetes.certificates import authority_of
from ocifree_pipeline.sandbox.machines.talos_configuration import Authority

VALID = timedelta(days=397)
BACKDATED = timedelta(hours=1)
HTTP2 = "h2"


def fingerprint(key: Ed25519PrivateKey) -> str:
    """By which a client can know the node before it has a configuration: SHA-256 of the public key."""
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(public).digest()).decode()


def certificate(key: Ed25519PrivateKey, hostname: str, names: Iterable[str], issuer: Authority | None) -> bytes:
    """PEM. Without an issuer it is signed with its own key."""
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    signer = issuer.key if issuer is not None else key
    if signer is None:
        raise ValueError("an authority without its key signs nothing")
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + VALID)
        .add_extension(
            x509.SubjectAlternativeName([_alternative_name(one) for one in dict.fromkeys(names)]), critical=False
        )
        .add_extension(_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    if issuer is not None:
        builder = builder.add_extension(authority_of(issuer.certificate), critical=False)
    signed = builder.sign(signer, None if isinstance(signer, Ed25519PrivateKey) else SHA256())
    return signed.public_bytes(Encoding.PEM)


def context(key: Ed25519PrivateKey, shown: bytes, clients_of: Authority | None) -> ssl.SSLContext:
    """TLS as the node speaks it: with an authority it wants to see a client certificate of that one."""
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.minimum_version = ssl.TLSVersion.TLSv1_2
    found.set_alpn_protocols([HTTP2])
    if clients_of is not None:
        found.load_verify_locations(cadata=clients_of.certificate.public_bytes(Encoding.PEM).decode())
        found.verify_mode = ssl.CERT_REQUIRED
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "node.pem"
        private_files.write(file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + shown)
        found.load_cert_chain(file)
    return found


def _alternative_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
