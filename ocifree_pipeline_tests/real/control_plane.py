"""A control plane of real programs on loopback: etcd and kube-apiserver, with an authority of its own.

The controller manager and the scheduler work for it where they are asked to.

with control_plane(tmp_path) as plane, api_at(plane.address, credentials_of(plane.kubeconfig())) as api:
    api.version()
"""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import requests
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr

from ocifree_pipeline.sandbox.kubernetes import certificates
from ocifree_pipeline.systems.talos.certificates import Pair, new_authority
from ocifree_pipeline.systems.talos.defaults import pod_security
from ocifree_pipeline_tests.real.programs import free_port, program, running, until

NAME = "kubernetes"
SERVICES = "10.96.0.0/12"
AUDIT = "audit.log"
WRITES = ("create", "update", "patch", "delete", "deletecollection")


@dataclass(frozen=True)
class ControlPlane:
    """Where it listens, and whom it believes."""

    folder: Path
    authority: Pair
    port: int
    names: tuple[str, ...] = ()
    """By which others call it, besides its own."""

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def kubeconfig(self, user: str = "admin", *groups: str) -> SecretStr:
        """As Talos writes it. Without a group it is that of an administrator."""
        certificate, key = self._client(user, groups)
        inside = {"client-certificate-data": _encoded(certificate), "client-key-data": _encoded(key)}
        cluster = {
            "server": f"https://{NAME}:{self.port}",
            "certificate-authority-data": _encoded(self.authority.certificate),
        }
        return SecretStr(
            yaml.safe_dump(
                {
                    "current-context": "lab",
                    "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
                    "clusters": [{"name": "lab", "cluster": cluster}],
                    "users": [{"name": user, "user": inside}],
                }
            )
        )

    @contextmanager
    def session(self, user: str = "admin") -> Iterator[requests.Session]:
        """An administrator who speaks HTTP."""
        certificate, key = self._client(user, ())
        with requests.Session() as found:
            found.trust_env = False
            found.cert = (str(self.write(f"{user}.pem", certificate)), str(self.write(f"{user}.key", key)))
            found.verify = str(self.write("ca.pem", self.authority.certificate))
            yield found

    def _client(self, user: str, groups: tuple[str, ...]) -> tuple[str, str]:
        pair = self.authority
        return certificates.client(pair.certificate, pair.key, user, groups or ("system:masters",))

    def writes(self, user: str) -> list[str]:
        """What this user has changed so far, as the server noted it. A rehearsal changes nothing."""
        noted = map(json.loads, (self.folder / AUDIT).read_text().splitlines())
        return [
            f"{one['verb']} {one['requestURI']}"
            for one in noted
            if one["user"]["username"] == user and "dryRun=" not in one["requestURI"]
        ]

    def write(self, name: str, text: str) -> Path:
        file = self.folder / name
        file.touch(mode=0o600)
        file.write_text(text)
        return file


@contextmanager
def control_plane(
    folder: Path,
    without: Iterable[str] = (),
    *,
    controllers: bool = False,
    authority: Pair | None = None,
    names: Iterable[str] = (),
) -> Iterator[ControlPlane]:
    """With the admission that our machine configurations give it, except for the plugins that it shall be `without`."""
    etcd, apiserver = program("etcd"), program("kube-apiserver")
    authority = authority or new_authority("ecdsa", datetime.now(UTC), organization="kubernetes")
    plane = ControlPlane(folder, authority, free_port(), tuple(names))
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    keeping = [f"--data-dir={folder / 'etcd'}", f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
    keeping += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
    keeping += [f"--initial-cluster=default={peer}", "--unsafe-no-fsync"]
    etcd_log, log = folder / "etcd.log", folder / "kube-apiserver.log"
    with running(etcd, *keeping, log=etcd_log) as kept:
        until(lambda: _is_healthy(client), kept, etcd_log)
        with running(apiserver, *_settings(plane, client, without), log=log) as child, plane.session() as asking:
            until(lambda: _is_ready(asking, plane.port), child, log)
            with ExitStack() as working:
                for name, words in _workers(plane).items() if controllers else ():
                    working.enter_context(running(program(name), *words, log=folder / f"{name}.log"))
                yield plane


def _workers(plane: ControlPlane) -> dict[str, list[str]]:
    """Nobody asks them anything, so they do not listen. The kubelets are played, and do not send their heartbeats."""
    known = plane.kubeconfig("admin").get_secret_value().replace(f"https://{NAME}:", "https://127.0.0.1:")
    common = [f"--kubeconfig={plane.write('kubeconfig', known)}", "--leader-elect=false", "--secure-port=0"]
    return {
        "kube-controller-manager": [
            *common,
            f"--service-account-private-key-file={plane.folder / 'accounts.key'}",
            f"--root-ca-file={plane.folder / 'ca.pem'}",
            "--node-monitor-grace-period=1h",
        ],
        "kube-scheduler": common,
    }


def _settings(plane: ControlPlane, etcd: str, without: Iterable[str]) -> list[str]:
    key, pair = ec.generate_private_key(ec.SECP256R1()), plane.authority
    shown = certificates.signed(
        pair.certificate, pair.key, key.public_key(), name="kube-apiserver", names=(NAME, "127.0.0.1", *plane.names)
    )
    private = plane.write(
        "apiserver.key",
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    )
    signing = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )
    accounts = plane.write("accounts.key", signing.decode())
    admission = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{"name": "PodSecurity", "configuration": pod_security()}],
    }
    noted = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "verbs": list(WRITES)}, {"level": "None"}],
    }
    return [
        f"--audit-policy-file={plane.write('audit.json', json.dumps(noted))}",
        f"--audit-log-path={plane.folder / AUDIT}",
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={plane.port}",
        f"--tls-cert-file={plane.write('apiserver.pem', shown)}",
        f"--tls-private-key-file={private}",
        f"--client-ca-file={plane.write('ca.pem', pair.certificate)}",
        f"--cert-dir={plane.folder}",
        "--service-account-issuer=https://kubernetes",
        f"--service-account-key-file={accounts}",
        f"--service-account-signing-key-file={accounts}",
        f"--service-cluster-ip-range={SERVICES}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--disable-admission-plugins={','.join(without)}",
        f"--admission-control-config-file={plane.write('admission.json', json.dumps(admission))}",
        "--allow-privileged=true",
    ]


def _is_healthy(etcd: str) -> bool:
    try:
        with urllib.request.urlopen(f"{etcd}/health", timeout=5) as answer:  # noqa: S310 - loopback
            return bool(answer.status == 200)
    except OSError:
        return False


def _is_ready(session: requests.Session, port: int) -> bool:
    try:
        return session.get(f"https://127.0.0.1:{port}/readyz", timeout=10).status_code == 200
    except OSError:
        return False


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
