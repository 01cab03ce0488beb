import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ocifree_pipeline.sandbox.door import authority as module
from ocifree_pipeline.sandbox.door.authority import Authority

HOST = "iaas.uk-london-1.oraclecloud.com"


def speak_as(authority: Authority, host: str, asked: str) -> str:
    """Shake hands with a server that speaks as ``host`` as a client that wants ``asked``; the version of TLS."""
    ours, theirs = socket.socketpair()
    client = ssl.create_default_context(cafile=str(authority.ca_file))
    client.verify_flags |= ssl.VERIFY_X509_STRICT

    def serve() -> None:
        try:
            with authority.context(host).wrap_socket(theirs, server_side=True) as secure:
                secure.sendall(b"hello")
        except ssl.SSLError:
            theirs.close()

    server = threading.Thread(target=serve)
    server.start()
    try:
        with client.wrap_socket(ours, server_hostname=asked) as secure:
            assert secure.recv(5) == b"hello"
            return secure.version() or ""
    finally:
        ours.close()
        server.join(timeout=10)


def mode(path: Path) -> str:
    return oct(path.stat().st_mode & 0o777)


@pytest.mark.parametrize("host", [HOST, "192.0.2.7"])
def test_a_strict_client_believes_the_host(tmp_path, host):
    assert speak_as(Authority(tmp_path), host, host) == "TLSv1.3"


@pytest.mark.parametrize("asked", ["identity.uk-london-1.oraclecloud.com", "evil.example"])
def test_a_certificate_is_good_for_its_own_host_only(tmp_path, asked):
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        speak_as(Authority(tmp_path), HOST, asked)


def test_another_sandbox_is_not_believed(tmp_path):
    ours, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    ours.ca_file.write_bytes(other.ca_file.read_bytes())
    with pytest.raises(ssl.SSLCertVerificationError):
        speak_as(Authority(tmp_path / "ours"), HOST, HOST)


def test_keys_are_the_owners_alone_and_are_kept(tmp_path):
    first = Authority(tmp_path / "ca")
    first.context(HOST)
    kept = {file.name: file.read_bytes() for file in (tmp_path / "ca").iterdir()}
    assert mode(tmp_path / "ca") == "0o700"
    assert {mode(file) for file in (tmp_path / "ca").iterdir()} == {"0o600"}
    assert sum(b"PRIVATE KEY" in content for content in kept.values()) == 2
    again = Authority(tmp_path / "ca")
    again.context(HOST)
    assert {file.name: file.read_bytes() for file in (tmp_path / "ca").iterdir()} == kept
    assert speak_as(again, HOST, HOST)


def test_what_is_about_to_expire_is_made_anew(tmp_path, monkeypatch):
    class Later(datetime):
        days = module.LEAF_DAYS - 10

        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=cls.days)

    old = Authority(tmp_path)
    old.context(HOST)
    ca, leaf = old.ca_file.read_bytes(), (tmp_path / f"host-{HOST}.pem").read_bytes()
    monkeypatch.setattr(module, "datetime", Later)
    Authority(tmp_path).context(HOST)
    assert old.ca_file.read_bytes() == ca
    assert (tmp_path / f"host-{HOST}.pem").read_bytes() != leaf
    monkeypatch.setattr(Later, "days", module.CA_DAYS)
    assert Authority(tmp_path).ca_file.read_bytes() != ca
    assert not (tmp_path / f"host-{HOST}.pem").exists()
    assert datetime.now(UTC) < Later.now(UTC)
