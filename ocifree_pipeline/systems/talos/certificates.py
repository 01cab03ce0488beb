"""Keys and certificates in the forms that Talos reads and writes itself.

Its own authority is Ed25519, those of Kubernetes and etcd are ECDSA P-256. Talos marks an Ed25519 key in PEM with a
name of its own, which other programs do not know; inside is the usual PKCS #8.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    SigningKey = EllipticCurvePrivateKey | Ed25519PrivateKey

Algorithm = Literal["ed25519", "ecdsa"]

AUTHORITY_VALID = timedelta(days=3650)
CLIENT_VALID = timedelta(days=365)
BEFORE_NOW = timedelta(hours=1)
"""A machine whose clock is a little behind this computer's must not find that its authorities are not valid yet."""

ADMIN = "os:admin"
_ED25519, _PKCS8 = "ED25519 PRIVATE KEY", "PRIVATE KEY"


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, both PEM."""

    certificate: str
    key: str = field(repr=False)


def new_authority(
    algorithm: Algorithm, now: datetime, *, organization: str | None = None, name: str | None = None
) -> Pair:
    """A certificate that signs others, and itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key: SigningKey = (
        ed25519.Ed25519PrivateKey.generate() if algorithm == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    )
    subject = _subject(organization, name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BEFORE_NOW)
        .not_valid_after(now + AUTHORITY_VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Pair(_certificate_pem(_sign(builder, key)), _key_pem(key))


def new_client(authority: Pair, now: datetime, *, role: str = ADMIN, valid: timedelta = CLIENT_VALID) -> Pair:
    """A certificate with which its holder is let in by Talos, in the role that its organization names."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from cryptography.x509.oid import ExtendedKeyUsageOID

    issuer, signer = certificate_of(authority), key_of(authority)
    key = ed25519.Ed25519PrivateKey.generate()
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateBuilder()
        .subject_name(_subject(role, None))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - BEFORE_NOW, issuer.not_valid_before_utc))
        .not_valid_after(min(now + valid, issuer.not_valid_after_utc))
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    return Pair(_certificate_pem(_sign(builder, signer)), _key_pem(key))


def new_service_account_key() -> str:
    """The RSA key that signs the tokens of service accounts, as PEM."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    return _key_pem(rsa.generate_private_key(public_exponent=65537, key_size=4096))


# reading --------------------------------------------------------------------------------------------------------------


def certificate_of(pair: Pair) -> x509.Certificate:
    from cryptography.x509 import load_pem_x509_certificate

    return load_pem_x509_certificate(pair.certificate.encode())


def key_of(pair: Pair) -> SigningKey:
    """The key of the pair; ValueError if it is not the one that the certificate was made for."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = _load_key(pair.key)
    if not isinstance(key, EllipticCurvePrivateKey | Ed25519PrivateKey):
        raise ValueError("a key of a kind that Talos does not use")
    if key.public_key() != certificate_of(pair).public_key():
        raise ValueError("the key of another certificate")
    return key


def portable_key(pair: Pair) -> str:
    """The key in PEM that TLS libraries read; the name that Talos gives to Ed25519 they do not know."""
    return pair.key.replace(_ED25519, _PKCS8)


def fingerprint(pair: Pair) -> str:
    """SHA-256 of the certificate."""
    from cryptography.hazmat.primitives.hashes import SHA256

    return certificate_of(pair).fingerprint(SHA256()).hex()


def public_fingerprint(key: str) -> str:
    """SHA-256 of the public half of a key that has no certificate."""
    import hashlib

    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = _load_key(key).public_key()
    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def expiry(pair: Pair) -> datetime:
    return certificate_of(pair).not_valid_after_utc.astimezone(UTC)


# forms ----------------------------------------------------------------------------------------------------------------


def _subject(organization: str | None, name: str | None) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    written = ((NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, name))
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in written if value])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _sign(builder: x509.CertificateBuilder, key: SigningKey) -> x509.Certificate:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256

    return builder.sign(key, None if isinstance(key, Ed25519PrivateKey) else SHA256())


def _certificate_pem(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: SigningKey | RSAPrivateKey) -> str:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    if isinstance(key, Ed25519PrivateKey):
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return pem.replace(_PKCS8, _ED25519)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


def _load_key(pem: str) -> SigningKey | RSAPrivateKey:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    # What is read here was made here and kept sealed; testing large primes again takes 0.2 s of every reader.
    key: SigningKey | RSAPrivateKey = load_pem_private_key(  # type: ignore[assignment]
        pem.replace(_ED25519, _PKCS8).encode(), None, unsafe_skip_rsa_key_validation=True
    )
    return key
