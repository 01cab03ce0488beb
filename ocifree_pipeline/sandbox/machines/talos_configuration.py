"""The machine configuration of a Talos node, as far as it decides whether the node comes up.

It is one YAML stream: a document ``version: v1alpha1``, and beside it documents that name their ``kind``. What newer
versions of Talos keep in documents of their own is found in either place. Field names below the first level are not
judged. A problem names the field, never what stands in it: the configuration holds the secrets of the cluster.
"""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import yaml
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

SigningKey = Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey
Document = dict[str, Any]

VERSION = "v1alpha1"
CONTROL_PLANES = frozenset({"controlplane", "init"})
ROLES = CONTROL_PLANES | {"worker"}
FIRST_LEVEL = frozenset({"version", "debug", "persist", "machine", "cluster"})
TALOS_NAME, PKCS8 = "ED25519 PRIVATE KEY", "PRIVATE KEY"
"""Talos has a PEM name of its own for keys that are plain PKCS #8."""


class Invalid(Exception):
    """Why Talos would not take the configuration."""


@dataclass(frozen=True, slots=True)
class Authority:
    """``key`` is None on a worker, which can check certificates and sign none."""

    certificate: x509.Certificate
    key: SigningKey | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Configuration:
    role: str
    authority: Authority
    token: str = field(repr=False)
    hostname: str | None = None
    alternative_names: tuple[str, ...] = ()

    @property
    def is_control_plane(self) -> bool:
        return self.role in CONTROL_PLANES


@lru_cache(maxsize=16)
def read(text: str) -> Configuration:
    """What the node takes from its configuration; Invalid names everything that is wrong with it."""
    documents = _documents(text)
    main = next(one for one in documents if "kind" not in one)
    role = _at(main, "machine.type")
    if not isinstance(role, str) or role not in ROLES:
        raise Invalid(f"machine.type must be one of {', '.join(sorted(ROLES))}")
    problems = list(_problems(documents, role))
    authorities = {}
    for place, (found, coded) in _authorities(documents, role).items():
        try:
            authorities[place] = _authority(found, coded=coded, with_key=role in CONTROL_PLANES)
        except ValueError as error:
            problems.append(f"{place}: {error}")
    if problems:
        raise Invalid("; ".join(problems))
    named = _of_kind(documents, "HostnameConfig").get("hostname") or _at(main, "machine.network.hostname")
    return Configuration(
        role=role,
        authority=authorities["machine.ca"],
        token=str(_at(main, "machine.token")),
        hostname=str(named) if named else None,
        alternative_names=tuple(map(str, _at(main, "machine.certSANs") or ())),
    )


# documents ------------------------------------------------------------------------------------------------------------


def _documents(text: str) -> list[Document]:
    try:
        documents = [one for one in yaml.safe_load_all(text) if one is not None]
    except yaml.YAMLError as error:
        raise Invalid(f"it is no YAML{_place(error)}") from None
    for number, one in enumerate(documents, start=1):
        if not isinstance(one, dict):
            raise Invalid(f"document {number} is not a mapping")
        if "kind" in one and one.get("apiVersion") != VERSION:
            raise Invalid(f"document {number} ({one['kind']}) must have apiVersion: {VERSION}")
        if "kind" not in one and one.get("version") != VERSION:
            raise Invalid(f"document {number} has neither a kind nor version: {VERSION}")
    mains = [one for one in documents if "kind" not in one]
    if len(mains) != 1:
        raise Invalid(f"it needs one document with version: {VERSION}, and has {len(mains)}")
    if unknown := {str(name) for name in mains[0]} - FIRST_LEVEL:
        raise Invalid(f"unknown keys found during decoding: {', '.join(sorted(unknown))}")
    for name in ("machine", "cluster"):
        if not isinstance(mains[0].get(name), dict):
            raise Invalid(f"{name} instructions are required")
    return documents


def _place(error: yaml.YAMLError) -> str:
    """Where it went wrong. The words of the parser would quote the line, and the line may be a key."""
    mark = getattr(error, "problem_mark", None)
    return f": line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _of_kind(documents: list[Document], kind: str) -> Document:
    return next((one for one in documents if one.get("kind") == kind), {})


def _at(document: Document, path: str) -> Any:
    found: Any = document
    for step in path.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


# what has to be there -------------------------------------------------------------------------------------------------


def _problems(documents: list[Document], role: str) -> Iterator[str]:
    main = next(one for one in documents if "kind" not in one)
    for path in ("machine.token", "cluster.token"):
        if not isinstance(_at(main, path), str):
            yield f"{path} is required"
    names = _at(main, "machine.certSANs")
    if names is not None and not isinstance(names, list):
        yield "machine.certSANs must be a list"
    endpoint = _of_kind(documents, "KubeClusterConfig").get("endpoint") or _at(main, "cluster.controlPlane.endpoint")
    if not _is_address(endpoint):
        yield "cluster.controlPlane.endpoint must be a URL such as https://name:6443"
    signer = _at(_of_kind(documents, "KubeServiceAccountConfig"), "issuer.privateKey")
    if role in CONTROL_PLANES and not (signer or _at(main, "cluster.serviceAccount.key")):
        yield "cluster.serviceAccount.key is required"


def _is_address(endpoint: Any) -> bool:
    try:
        return urlsplit(str(endpoint)).scheme == "https" and bool(urlsplit(str(endpoint)).hostname)
    except ValueError:
        return False


def _authorities(documents: list[Document], role: str) -> dict[str, tuple[Any, bool]]:
    """Where each authority stands, and whether its PEM is in Base64 as in the older document."""
    main = next(one for one in documents if "kind" not in one)
    kubernetes = _of_kind(documents, "KubeAPIServerCAConfig")
    accepted = kubernetes.get("acceptedCAs")
    newer = {
        "cluster.ca": kubernetes.get("issuingCA")
        or ({"cert": accepted[0]} if isinstance(accepted, list) and accepted else None),
        "cluster.aggregatorCA": _of_kind(documents, "KubeAggregatorCAConfig").get("issuingCA"),
    }
    places = ["machine.ca", "cluster.ca"]
    if role in CONTROL_PLANES:
        places += ["cluster.aggregatorCA", "cluster.etcd.ca"]
    return {place: (newer[place], False) if newer.get(place) else (_at(main, place), True) for place in places}


def _authority(found: Any, *, coded: bool, with_key: bool) -> Authority:
    """ValueError says what is wrong with it, in words that give nothing away."""
    if not isinstance(found, dict):
        raise ValueError("it is required")
    certificate = _certificate(_pem(found.get("crt" if coded else "cert"), "certificate", coded=coded))
    if not with_key:
        return Authority(certificate)
    key = _key(_pem(found.get("key"), "key", coded=coded))
    if key.public_key() != certificate.public_key():
        raise ValueError("the key is not that of the certificate")
    return Authority(certificate, key)


def _pem(value: Any, what: str, *, coded: bool) -> bytes:
    if not isinstance(value, str) or not value:
        raise ValueError(f"the {what} is required")
    if not coded:
        return value.encode()
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except binascii.Error:
        raise ValueError(f"the {what} is no Base64") from None


def _certificate(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise ValueError("the certificate cannot be read") from None


def _key(pem: bytes) -> SigningKey:
    try:
        key = load_pem_private_key(pem.replace(TALOS_NAME.encode(), PKCS8.encode()), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("the key cannot be read") from None
    if not isinstance(key, SigningKey):
        raise ValueError("the key is of a kind that Talos does not use")
    return key
