"""Certificates of Proxmox nodes: an authority for each store, a leaf for each node, with the extensions of PVE 9.2.

Keys are derived from words in the world's state, certificates are kept as they were signed, so both survive snapshots.
"""

import hashlib
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ocifree_pipeline.sandbox.door.authority import key_usage
from ocifree_pipeline.sandbox.world import World

CA_DAYS, LEAF_DAYS = 3650, 730
BACKDATED = timedelta(days=1)


def new_key(world: World) -> str:
    return world.fresh("pvekey", 52)


@lru_cache(maxsize=64)
def private_key(word: str) -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(hashlib.sha256(word.encode()).digest()) >> 1
    return ec.derive_private_key(number + 1, ec.SECP256R1())


def private_pem(word: str) -> bytes:
    return private_key(word).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def new_authority(world: World) -> dict[str, str]:
    word = new_key(world)
    key = private_key(word)
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "Proxmox Virtual Environment"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, world.fresh("pvecaname", 24)),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "PVE Cluster Manager CA"),
        ]
    )
    certificate = (
        _builder(name, name, key.public_key(), CA_DAYS, world.fresh("pveserial", 16))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return {"key": word, "pem": certificate.public_bytes(serialization.Encoding.PEM).decode()}


def leaf(authority: dict[str, str], word: str, name: str, address: str, serial: str) -> str:
    """The PEM of a node's certificate."""
    ca_key, public = private_key(authority["key"]), private_key(word).public_key()
    ca = x509.load_pem_x509_certificate(authority["pem"].encode())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "PVE Cluster Node"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Proxmox Virtual Environment"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    names = [
        *(x509.IPAddress(ip_address(one)) for one in dict.fromkeys(("127.0.0.1", "::1", address))),
        *(x509.DNSName(one) for one in ("localhost", name)),
    ]
    certificate = (
        _builder(subject, ca.subject, public, LEAF_DAYS, serial)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def is_for(pem: str, authority: str, name: str, address: str) -> bool:
    """Signed by that authority, for that name and address."""
    certificate = x509.load_pem_x509_certificate(pem.encode())
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.encode()))
    except (InvalidSignature, ValueError, TypeError):
        return False
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = {str(one) for one in names.get_values_for_type(x509.IPAddress)}
    return name in names.get_values_for_type(x509.DNSName) and address in addresses


def fingerprint(pem: str) -> str:
    return x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA256()).hex(":").upper()


@lru_cache(maxsize=32)
def context(pem: str, word: str) -> ssl.SSLContext:
    """What a TLS server needs to show this certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(pem.encode() + private_pem(word))
        file.flush()
        made.load_cert_chain(Path(file.name))
    return made


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int, serial: str
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(int.from_bytes(serial.encode()[:16]))
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )
