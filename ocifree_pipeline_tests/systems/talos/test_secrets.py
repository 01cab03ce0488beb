"""Secrets in the form of Talos, certificates that a TLS library takes, and nothing of either where it can be read."""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import Refused
from ocifree_pipeline.systems.kube.api import _untrusted
from ocifree_pipeline.systems.talos.certificates import (
    BEFORE_NOW,
    Pair,
    certificate_of,
    expiry,
    key_of,
    new_authority,
    new_client,
    portable_key,
)
from ocifree_pipeline.systems.talos.channel import _tls
from ocifree_pipeline.systems.talos.secrets import Bundle, as_file, from_file
from ocifree_pipeline_tests.systems.talos.conftest import NOW

HOST = IPv4Address("10.0.0.7")


def test_the_file_is_the_one_that_talosctl_reads(bundle: Bundle) -> None:
    data = yaml.safe_load(as_file(bundle).get_secret_value())
    assert {section: set(data[section]) for section in data} == {
        "cluster": {"id", "secret"},
        "secrets": {"bootstraptoken", "secretboxencryptionsecret"},
        "trustdinfo": {"token"},
        "certs": {"etcd", "k8s", "k8saggregator", "k8sserviceaccount", "os"},
    }
    assert len(base64.urlsafe_b64decode(data["cluster"]["id"])) == 32
    assert len(base64.b64decode(data["cluster"]["secret"], validate=True)) == 32
    assert len(base64.b64decode(data["secrets"]["secretboxencryptionsecret"], validate=True)) == 32
    for token in (data["secrets"]["bootstraptoken"], data["trustdinfo"]["token"]):
        assert re.fullmatch(r"[0-9a-z]{6}\.[0-9a-z]{16}", token)
    headings = {name: base64.b64decode(one["key"]).decode().splitlines()[0] for name, one in data["certs"].items()}
    assert headings == {
        "etcd": "-----BEGIN EC PRIVATE KEY-----",
        "k8s": "-----BEGIN EC PRIVATE KEY-----",
        "k8saggregator": "-----BEGIN EC PRIVATE KEY-----",
        "k8sserviceaccount": "-----BEGIN RSA PRIVATE KEY-----",
        "os": "-----BEGIN ED25519 PRIVATE KEY-----",
    }


def test_what_was_written_is_read_back(bundle: Bundle) -> None:
    assert from_file(as_file(bundle)) == bundle


def test_no_two_bundles_share_anything(bundle: Bundle, other_bundle: Bundle) -> None:
    for name in Bundle.__slots__:
        assert getattr(bundle, name) != getattr(other_bundle, name), name
    assert not set(bundle.fingerprints().values()) & set(other_bundle.fingerprints().values())


@pytest.mark.parametrize("name", Bundle.__slots__)
def test_every_secret_has_its_part_in_a_fingerprint(bundle: Bundle, other_bundle: Bundle, name: str) -> None:
    changed = replace(bundle, **{name: getattr(other_bundle, name)}).fingerprints()
    assert len([value for key, value in bundle.fingerprints().items() if changed[key] != value]) == 1


def test_printing_a_bundle_tells_nothing(bundle: Bundle) -> None:
    shown = f"{bundle!r} {bundle} {bundle.talos!r} {as_file(bundle)!r}"
    assert bundle.trustd_token not in shown
    assert "PRIVATE KEY" not in shown
    assert bundle.talos.key not in shown


def _without(section: str, name: str) -> Callable[[str], str]:
    def damage(text: str) -> str:
        data = yaml.safe_load(text)
        del data[section][name]
        return yaml.safe_dump(data)

    return damage


def _keys_exchanged(text: str) -> str:
    data = yaml.safe_load(text)
    certs = data["certs"]
    certs["etcd"]["key"], certs["k8s"]["key"] = certs["k8s"]["key"], certs["etcd"]["key"]
    return yaml.safe_dump(data)


DAMAGES: dict[str, Callable[[str], str]] = {
    "empty": lambda text: "",
    "a list": lambda text: "- 1",
    "cut off": lambda text: text[: len(text) // 2],
    "not YAML": lambda text: text + "\n\t}{",
    "no token": _without("trustdinfo", "token"),
    "no etcd": _without("certs", "etcd"),
    "keys exchanged": _keys_exchanged,
    "not base64": lambda text: text.replace("crt: L", "crt: ?"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_refused_without_quoting_it(bundle: Bundle, damage: Callable[[str], str]) -> None:
    with pytest.raises(Refused, match="damaged") as caught:
        from_file(SecretStr(damage(as_file(bundle).get_secret_value())))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert not any(secret in str(caught.value) for secret in (bundle.trustd_token, bundle.cluster_secret))


# certificates ---------------------------------------------------------------------------------------------------------


def test_the_authorities_sign_for_ten_years_and_are_of_the_kinds_that_talos_makes(bundle: Bundle) -> None:
    for name, pair in bundle.authorities.items():
        certificate = certificate_of(pair)
        certificate.verify_directly_issued_by(certificate)
        assert isinstance(key_of(pair), ed25519.Ed25519PrivateKey) is (name == "talos")
        public = certificate.public_key()
        if isinstance(public, ec.EllipticCurvePublicKey):
            assert isinstance(public.curve, ec.SECP256R1)
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert basic.critical
        assert basic.value.ca
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        assert usage.key_cert_sign
        assert usage.digital_signature
        assert certificate.not_valid_before_utc == NOW - BEFORE_NOW
        assert expiry(pair) - NOW == timedelta(days=3650)
    organizations = {
        name: [str(one.value) for one in certificate_of(pair).subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
        for name, pair in bundle.authorities.items()
    }
    assert organizations == {"etcd": ["etcd"], "kubernetes": ["kubernetes"], "aggregator": [], "talos": ["talos"]}
    service_account = load_pem_private_key(bundle.service_account_key.encode(), None)
    assert isinstance(service_account, rsa.RSAPrivateKey)
    assert service_account.key_size == 4096


def test_a_client_is_an_admin_for_a_year(bundle: Bundle) -> None:
    admin = new_client(bundle.talos, NOW)
    certificate = certificate_of(admin)
    certificate.verify_directly_issued_by(certificate_of(bundle.talos))
    assert certificate.subject.rfc4514_string() == "O=os:admin"
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_cert_sign) == (True, False)
    extended = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(extended) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert expiry(admin) - NOW == timedelta(days=365)
    assert key_of(admin).public_key() == certificate.public_key()


def test_a_client_never_outlives_its_authority(bundle: Bundle) -> None:
    late = new_client(bundle.talos, NOW + timedelta(days=3600), role="os:reader")
    assert expiry(late) == expiry(bundle.talos)
    assert certificate_of(late).subject.rfc4514_string() == "O=os:reader"


@pytest.mark.parametrize("of_this_cluster", [True, False])
def test_tls_lets_the_admin_of_this_cluster_in_and_no_other(
    bundle: Bundle, other_bundle: Bundle, of_this_cluster: bool, tmp_path: Path
) -> None:
    admin = new_client((bundle if of_this_cluster else other_bundle).talos, datetime.now(UTC))
    server = _context(ssl.PROTOCOL_TLS_SERVER, bundle.talos, _node(bundle.talos), tmp_path)
    server.verify_mode = ssl.CERT_REQUIRED
    client = _context(ssl.PROTOCOL_TLS_CLIENT, bundle.talos, admin, tmp_path)
    if of_this_cluster:
        assert _shake_hands(client, server) == certificate_of(admin).public_bytes(Encoding.DER)
    else:
        with pytest.raises(ssl.SSLError, match=r"issuer|signature"):
            _shake_hands(client, server)


def _node(authority: Pair) -> Pair:
    """What trustd would sign for a node."""
    key = ed25519.Ed25519PrivateKey.generate()
    issuer = certificate_of(authority)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(issuer.not_valid_before_utc)
        .not_valid_after(issuer.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(HOST)]), critical=False)
        .sign(key_of(authority), None)
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Pair(certificate.public_bytes(Encoding.PEM).decode(), pem.decode())


def _context(protocol: ssl._SSLMethod, authority: Pair, own: Pair, folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.load_verify_locations(cadata=authority.certificate)
    file = folder / "pair.pem"
    file.write_text(own.certificate + portable_key(own))
    context.load_cert_chain(file)
    return context


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> bytes | None:
    """In memory. The certificate that the server was shown."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_hostname=str(HOST))
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (asking, answering):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return answering.getpeercert(binary_form=True)


@pytest.mark.parametrize(("days", "said"), [(2, "not yet valid"), (-4000, "expired")])
def test_a_certificate_of_another_time_is_a_matter_of_clocks(tmp_path: Path, days: int, said: str) -> None:
    pair = new_authority("ed25519", datetime.now(UTC) + timedelta(days=days))
    (tmp_path / "node.pem").write_text(portable_key(pair) + pair.certificate)
    node = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    node.load_cert_chain(tmp_path / "node.pem")
    ours = ssl.create_default_context(cadata=pair.certificate)
    ours.check_hostname = False
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client, server = ours.wrap_bio(back, there), node.wrap_bio(there, back, server_side=True)
    for side in (client, server):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        client.do_handshake()
    told = _tls("lab-1", caught.value)
    assert said in told.why
    assert "clock" in told.fix
    assert "clock" in _untrusted("read nodes", "10.0.1.10", caught.value).fix  # type: ignore[attr-defined]
