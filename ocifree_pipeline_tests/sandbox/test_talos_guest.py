"""A Talos machine behind an instance: who may speak to it, and what it does without a configuration."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from ocifree_pipeline.sandbox import machines
from ocifree_pipeline.sandbox.disks.making import write_qcow2
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline.systems import guests
from ocifree_pipeline.systems.ssh.dialer import Dialer, Hop
from ocifree_pipeline.systems.ssh.host_keys import HostKeys
from ocifree_pipeline.systems.talos.certificates import Pair, new_client, portable_key
from ocifree_pipeline.systems.talos.secrets import Bundle, new_bundle
from ocifree_pipeline_tests.conformance.computing import UEFI, Computing, computing
from ocifree_pipeline_tests.sandbox.harness import running
from ocifree_pipeline_tests.sandbox.talos_nodes import NAME, configuration, user_data

API = 50000
BOOT = 60


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return new_bundle(datetime.now(UTC))


@pytest.fixture(scope="module")
def stranger() -> Bundle:
    return new_bundle(datetime.now(UTC))


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Computing, str]]:
    """A sandbox with a Talos image."""
    directory = tmp_path_factory.mktemp("talos")
    with running(directory / "sandbox", mode="manual", profile=Profile(account="payg")) as sandbox:
        here = computing(sandbox)
        disk = write_qcow2(directory / "disk.qcow2", ("aarch64",), label="META")
        yield here, here.import_image(here.upload(disk), launchMode="CUSTOM", launchOptions=UEFI)


class Node:
    """One machine, and the way to it."""

    def __init__(self, ground: tuple[Computing, str], data: str | None) -> None:
        self.here, image = ground
        metadata = {"user_data": data} if data is not None else {}
        self.id = self.here.launch(source_details=self.here.from_image(image), metadata=metadata).id
        self.here.wait(BOOT)
        (attached,) = self.here.compute.list_vnic_attachments(self.here.tenancy, instance_id=self.id).data
        self.ip = str(self.here.network.client.get_vnic(attached.vnic_id).data.private_ip)

    def act(self, action: str) -> None:
        self.here.compute.instance_action(self.id, action)
        self.here.wait(120)

    def reached(self, port: int = API) -> machines.Reached:
        found = self.here.sandbox.inside(lambda world: machines.find(world, self.ip, port))
        assert found is not None
        return found

    @property
    def console(self) -> str:
        return self.here.console(self.id)

    @contextmanager
    def spoken(self, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
        address = self.reached().address
        assert address is not None, self.reached().reason
        with (
            socket.create_connection(address, timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=self.ip) as secured,
        ):
            yield secured


@contextmanager
def standing(ground: tuple[Computing, str], data: str | None) -> Iterator[Node]:
    node = Node(ground, data)
    try:
        yield node
    finally:
        node.here.compute.terminate_instance(node.id)
        node.here.wait()


@pytest.fixture(scope="module")
def node(ground: tuple[Computing, str], bundle: Bundle) -> Iterator[Node]:
    with standing(ground, user_data(configuration(bundle))) as found:
        yield found


def client(trusted: Bundle | None, shows: Pair | None, directory: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    if trusted is not None:
        context.load_verify_locations(cadata=trusted.talos.certificate)
    else:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if shows is not None:
        file = directory / "client.pem"
        file.touch(mode=0o600)
        file.write_text(portable_key(shows) + shows.certificate)
        context.load_cert_chain(file)
    return context


def admin(bundle: Bundle) -> Pair:
    return new_client(bundle.talos, datetime.now(UTC))


def names(shown: bytes | None) -> x509.SubjectAlternativeName:
    assert shown is not None
    return x509.load_der_x509_certificate(shown).extensions.get_extension_for_class(x509.SubjectAlternativeName).value


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_of_the_cluster_is_let_in_and_knows_whom_it_speaks_to(
    node: Node, bundle: Bundle, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    context = client(bundle, admin(bundle), tmp_path)
    context.minimum_version = context.maximum_version = version
    with node.spoken(context) as secured:
        assert secured.selected_alpn_protocol() == "h2"
        found = names(secured.getpeercert(binary_form=True))
        assert speaks_http2(secured)
    assert set(found.get_values_for_type(x509.DNSName)) == {"lab-controlplane", NAME}
    assert {str(one) for one in found.get_values_for_type(x509.IPAddress)} == {node.ip, "127.0.0.1", "203.0.113.9"}


def test_who_shows_no_certificate_is_told_after_the_node_has_shown_its_own(
    node: Node, bundle: Bundle, tmp_path: Path
) -> None:
    with node.spoken(client(bundle, None, tmp_path)) as secured:
        assert secured.getpeercert()
        with pytest.raises(ssl.SSLError, match="certificate required"):
            secured.recv(1)


def test_who_shows_a_certificate_of_another_cluster_is_refused(
    node: Node, bundle: Bundle, stranger: Bundle, tmp_path: Path
) -> None:
    with (
        node.spoken(client(bundle, admin(stranger), tmp_path)) as secured,
        pytest.raises(ssl.SSLError, match="unknown ca"),
    ):
        secured.recv(1)
    with (
        pytest.raises(ssl.SSLCertVerificationError),
        node.spoken(client(stranger, admin(stranger), tmp_path / "..")),
    ):
        pass


def test_who_speaks_no_tls_gets_no_answer(node: Node) -> None:
    address = node.reached().address
    assert address is not None
    with socket.create_connection(address, timeout=10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: node\r\n\r\n")
        answer = plain.recv(100)
    assert not answer.startswith(b"HTTP")


def test_the_pipeline_sees_a_guest_that_answers(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = node.reached().address
    assert address is not None
    monkeypatch.setattr(guests, "TALOS_PORT", address[1])
    dialer = Dialer(HostKeys(tmp_path / "known_hosts"), environ={})
    assert guests.greet("talos", dialer, Hop("ampere_1", address[0], "unused")) == guests.Greeting("talos")


def test_there_is_no_ssh_and_no_login(node: Node, bundle: Bundle) -> None:
    assert node.reached(22).address is None
    assert node.reached(22).reason == "no service of the guest listens on port 22"
    console = node.console
    assert "this is lab-controlplane, machine type controlplane" in console
    assert f"apid listens at port 50000 of {node.ip} and asks for client certificates" in console
    assert "login:" not in console
    for secret in (bundle.trustd_token, bundle.bootstrap_token, bundle.cluster_secret, "PRIVATE KEY"):
        assert secret not in console


def test_power_decides_and_the_disk_remembers(node: Node, bundle: Bundle, tmp_path: Path) -> None:
    context = client(bundle, admin(bundle), tmp_path)
    address = node.reached().address
    assert address is not None
    with socket.create_connection(address, timeout=10) as knocking:
        node.act("STOP")
        assert node.reached() == machines.Reached(node.id, None, "it is powered off")
        knocking.settimeout(10)
        assert gone(knocking), "a connection does not outlive the power"
    node.act("START")
    with node.spoken(context) as secured:
        assert speaks_http2(secured)
    assert node.console.count("fetching one from") == 1, "the second boot reads its disk"
    node.act("RESET")
    with node.spoken(context) as secured:
        assert speaks_http2(secured)


def speaks_http2(secured: ssl.SSLSocket) -> bool:
    """The first frame of a server is its settings: a length, and the kind 4."""
    return secured.recv(4)[3:] == b"\x04"


def gone(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "the instance has no user data"),
        ("/////w==", "its user data is no text in Base64"),
        (user_data("#cloud-config\nusers: []\n"), "is not valid: document 1 has neither a kind nor version: v1alpha1"),
    ],
)
def test_without_a_valid_configuration_anybody_may_bring_one(
    ground: tuple[Computing, str], tmp_path: Path, data: str | None, said: str
) -> None:
    with standing(ground, data) as node:
        with node.spoken(client(None, None, tmp_path)) as secured:
            shown = secured.getpeercert(binary_form=True)
            assert secured.selected_alpn_protocol() == "h2"
            assert speaks_http2(secured), "nobody is asked for a certificate"
        assert shown is not None
        certificate = x509.load_der_x509_certificate(shown)
        certificate.verify_directly_issued_by(certificate)
        console = node.console
        assert said in console
        assert "maintenance mode" in console
        assert fingerprint(certificate) in console


def fingerprint(certificate: x509.Certificate) -> str:
    """As a client that compares it works it out."""
    import base64
    import hashlib

    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(public).digest()).decode()


def test_a_worker_answers_when_a_control_plane_of_its_cluster_does(
    ground: tuple[Computing, str], node: Node, bundle: Bundle, stranger: Bundle, tmp_path: Path
) -> None:
    with standing(ground, user_data(configuration(stranger, "worker"))) as alone:
        assert alone.reached().reason == "no service of the guest listens on port 50000"
        assert "no control plane of the cluster answers yet" in alone.console
    with (
        standing(ground, user_data(configuration(bundle, "worker"))) as worker,
        worker.spoken(client(bundle, admin(bundle), tmp_path)) as secured,
    ):
        assert "lab-worker" in names(secured.getpeercert(binary_form=True)).get_values_for_type(x509.DNSName)
        assert speaks_http2(secured)
