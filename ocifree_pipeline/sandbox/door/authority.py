"""The sandbox's own certificate authority: clients that trust it believe the hosts that the sandbox plays.

One CA per sandbox directory, made once, and one leaf certificate per host, made when the host is first asked for.
Elliptic keys, because they are made in a millisecond. Nothing here is meant to be trusted by a whole machine: clients
are pointed at the CA by environment variables.
"""

import ssl
from datetime import UTC, datetime, timedelta
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ocifree_pipeline.sandbox import private_files

CA_DAYS = 3650
LEAF_DAYS = 397
RENEW_BEFORE = timedelta(days=30)
BACKDATED = timedelta(days=1)


class Authority:
    """The CA in ``directory``; it is made there when there is none, or when it has nearly expired."""

    def __init__(self, directory: Path) -> None:
        self._directory = private_files.make_directory(directory)
        self._contexts: dict[str, ssl.SSLContext] = {}
        if not _lasting(self.ca_file) or not self._key_file("ca").exists():
            self._found()

    @property
    def ca_file(self) -> Path:
        """The certificate that clients must trust."""
        return self._directory / "ca.pem"

    def context(self, host: str) -> ssl.SSLContext:
        """What a TLS server needs to speak as ``host``. ``host`` must be a plain host name or an IP address."""
        if host not in self._contexts:
            certificate = self._directory / f"host-{host.replace(':', '_')}.pem"
            if not _lasting(certificate):
                private_files.write(certificate, self._leaf(host))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(certificate, self._key_file("leaf"))
            context.set_alpn_protocols(["http/1.1"])
            self._contexts[host] = context
        return self._contexts[host]

    def _key_file(self, name: str) -> Path:
        return self._directory / f"{name}.key"

    def _found(self) -> None:
        """A new CA. What an older one signed is worthless from now on."""
        for stale in self._directory.glob("*.pem"):
            stale.unlink()
        key = ec.generate_private_key(ec.SECP256R1())
        private_files.write(self._key_file("ca"), _pem(key))
        private_files.write(self._key_file("leaf"), _pem(ec.generate_private_key(ec.SECP256R1())))
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ocifree sandbox authority")])
        certificate = (
            _builder(name, name, key.public_key(), CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        private_files.write(self.ca_file, certificate.public_bytes(serialization.Encoding.PEM))

    @cached_property
    def _ca_key(self) -> ec.EllipticCurvePrivateKey:
        return _load_key(self._key_file("ca"))

    def _leaf(self, host: str) -> bytes:
        public = _load_key(self._key_file("leaf")).public_key()
        ca = x509.load_pem_x509_certificate(self.ca_file.read_bytes())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
        certificate = (
            _builder(subject, ca.subject, public, LEAF_DAYS)
            .add_extension(x509.SubjectAlternativeName([_alternative_name(host)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca_key.public_key()), critical=False
            )
            .sign(self._ca_key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _lasting(file: Path) -> bool:
    """There is a certificate, and it is good for some time yet."""
    if not file.exists():
        return False
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    return certificate.not_valid_after_utc - RENEW_BEFORE > datetime.now(UTC)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_key(file: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(file.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{file} holds no elliptic-curve key; remove {file.parent}, it is made anew")
    return key
