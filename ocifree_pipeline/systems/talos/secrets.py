"""The secrets of one cluster: made once, kept in the vault in the form that `talosctl gen secrets` writes.

Who loses them can no longer add a node or log in; who replaces them cuts off every node that runs. So they are made
once and never again, and what the record tells of them are fingerprints and dates.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml
from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import Refused
from ocifree_pipeline.systems.talos.certificates import (
    Pair,
    expiry,
    fingerprint,
    key_of,
    new_authority,
    new_service_account_key,
    public_fingerprint,
)

KEY_BYTES = 32
_TOKEN_LETTERS = string.digits + string.ascii_lowercase
_AUTHORITIES = {"etcd": "etcd", "kubernetes": "k8s", "aggregator": "k8saggregator", "talos": "os"}
"""Our name of an authority, and the one in the file."""


@dataclass(frozen=True, slots=True, repr=False)
class Bundle:
    """Every secret of a cluster. Never printed; `repr` tells nothing."""

    cluster_id: str
    cluster_secret: str
    bootstrap_token: str
    secretbox_key: str
    trustd_token: str
    etcd: Pair
    kubernetes: Pair
    aggregator: Pair
    talos: Pair
    service_account_key: str

    @property
    def authorities(self) -> Mapping[str, Pair]:
        return {name: getattr(self, name) for name in _AUTHORITIES}

    def fingerprints(self) -> dict[str, str]:
        """What tells one bundle from another without giving anything away.

        Keys are told by their public halves. The words have none, so they are hashed together: with the 256 random
        bits of the longest among them, nobody finds the others by trying.
        """
        words = (self.cluster_id, self.cluster_secret, self.bootstrap_token, self.secretbox_key, self.trustd_token)
        return {
            **{name: fingerprint(pair) for name, pair in self.authorities.items()},
            "service_account": public_fingerprint(self.service_account_key),
            "words": hashlib.sha256("\n".join(words).encode()).hexdigest(),
        }

    def expiries(self) -> dict[str, datetime]:
        return {name: expiry(pair) for name, pair in self.authorities.items()}


def new_bundle(now: datetime) -> Bundle:
    return Bundle(
        # Talos up to 1.13 writes the name in the alphabet for URLs, and nobody ever decodes it.
        cluster_id=base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode(),
        cluster_secret=_random_key(),
        bootstrap_token=_token(),
        secretbox_key=_random_key(),
        trustd_token=_token(),
        etcd=new_authority("ecdsa", now, organization="etcd"),
        kubernetes=new_authority("ecdsa", now, organization="kubernetes"),
        aggregator=new_authority("ecdsa", now, name="front-proxy"),
        talos=new_authority("ed25519", now, organization="talos"),
        service_account_key=new_service_account_key(),
    )


def as_file(bundle: Bundle) -> SecretStr:
    """What the vault keeps. `talosctl gen config --with-secrets` takes it too."""
    certificates: dict[str, Any] = {
        written: {"crt": encoded(pair.certificate), "key": encoded(pair.key)}
        for written, pair in ((written, bundle.authorities[name]) for name, written in _AUTHORITIES.items())
    }
    certificates["k8sserviceaccount"] = {"key": encoded(bundle.service_account_key)}
    data = {
        "cluster": {"id": bundle.cluster_id, "secret": bundle.cluster_secret},
        "secrets": {"bootstraptoken": bundle.bootstrap_token, "secretboxencryptionsecret": bundle.secretbox_key},
        "trustdinfo": {"token": bundle.trustd_token},
        "certs": certificates,
    }
    return SecretStr(yaml.safe_dump(data, sort_keys=False))


def from_file(text: SecretStr) -> Bundle:
    """The bundle that the vault kept; refused if anything in it is missing or does not belong together."""
    try:
        bundle = _read(yaml.safe_load(text.get_secret_value()))
        for pair in bundle.authorities.values():
            key_of(pair)
        public_fingerprint(bundle.service_account_key)
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        # The cause is not chained: parsers quote what they read, and here that is secrets.
        raise Refused(
            "the secrets of the cluster in the vault are damaged",
            why=f"they cannot be read as Talos writes them ({type(error).__name__})",
            fix="put your backup of the vault back; new secrets would cut off every node that runs",
        ) from None
    return bundle


def encoded(pem: str) -> str:
    """PEM in base64, as Talos puts it into YAML."""
    return base64.b64encode(pem.encode()).decode()


def _read(data: Any) -> Bundle:
    certificates = data["certs"]

    def pair(written: str) -> Pair:
        one = certificates[written]
        return Pair(_decoded(one["crt"]), _decoded(one["key"]))

    def word(section: str, name: str) -> str:
        value = data[section][name]
        if not isinstance(value, str) or not value:
            raise ValueError(name)
        return value

    return Bundle(
        cluster_id=word("cluster", "id"),
        cluster_secret=word("cluster", "secret"),
        bootstrap_token=word("secrets", "bootstraptoken"),
        secretbox_key=word("secrets", "secretboxencryptionsecret"),
        trustd_token=word("trustdinfo", "token"),
        service_account_key=_decoded(certificates["k8sserviceaccount"]["key"]),
        **{name: pair(written) for name, written in _AUTHORITIES.items()},
    )


def _decoded(text: str) -> str:
    return base64.b64decode(text, validate=True).decode()


def _random_key() -> str:
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def _token() -> str:
    """Six letters, a dot, sixteen letters: the form that kubeadm gave to tokens."""
    return ".".join("".join(secrets.choice(_TOKEN_LETTERS) for _ in range(length)) for length in (6, 16))
