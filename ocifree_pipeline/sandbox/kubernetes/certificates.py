"""TLS as an API server speaks it: a certificate of the cluster's authority, and clients that may show one."""

import ssl
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ocifree_pipeline.sandbox import private_files

VALID = timedelta(days=365)
BACKDATED = timedelta(hours=1)
NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
LOOPBACK = ("localhost", "127.0.0.1")
SigningKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def context(authority_certificate: str, authority_key: str, names: Iterable[str]) -> ssl.SSLContext:
    """For a server that answers to ``names`` (host names and addresses, the first of the service network included)."""
    key = ec.generate_private_key(ec.SECP256R1())
    shown = signed(
        authority_certificate,
        authority_key,
        key.public_key(),
        name="kube-apiserver",
        names=(*NAMES, *LOOPBACK, *names),
    )
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.minimum_version = ssl.TLSVersion.TLSv1_2
    found.set_alpn_protocols(["http/1.1"])
    found.load_verify_locations(cadata=authority_certificate)
    # A client without a certificate may have a token.
    found.verify_mode = ssl.CERT_OPTIONAL
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "apiserver.pem"
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        private_files.write(file, secret + shown.encode())
        found.load_cert_chain(file)
    return found


def client(authority_certificate: str, authority_key: str, name: str, groups: Iterable[str] = ()) -> tuple[str, str]:
    """Certificate and key of a user, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    shown = signed(authority_certificate, authority_key, key.public_key(), name=name, groups=groups)
    return shown, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def signed(
    authority_certificate: str,
    authority_key: str,
    public: ec.EllipticCurvePublicKey,
    *,
    name: str,
    names: Iterable[str] = (),
    groups: Iterable[str] = (),
) -> str:
    """A certificate for a server that has ``names``, or else for a client that belongs to ``groups``.

    Dated by the time of this computer and not by the virtual clock, for the clients that check it are real.
    """
    issuer = x509.load_pem_x509_certificate(authority_certificate.encode())
    signer = load_pem_private_key(authority_key.encode(), None)
    if not isinstance(signer, SigningKey):
        raise ValueError("the key of the authority is of a kind that Kubernetes does not use")
    now = datetime.now(UTC)
    alternatives = [_alternative(one) for one in dict.fromkeys(names)]
    usage = ExtendedKeyUsageOID.SERVER_AUTH if alternatives else ExtendedKeyUsageOID.CLIENT_AUTH
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([*subject, x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + VALID)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(authority_of(issuer), critical=False)
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    certificate = builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else SHA256())
    return certificate.public_bytes(Encoding.PEM).decode()


def authority_of(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """As the authority calls its own key: makers of certificates do not all hash it in the same way."""
    try:
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
