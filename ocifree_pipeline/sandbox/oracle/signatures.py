"""Who signed this request? Verification of HTTP signatures as Oracle's clients make them.

A client signs the lines ``name: value`` of the headers it lists, with RSA PKCS#1 v1.5 and SHA-256. The pseudo header
``(request-target)`` is the lowercase method and the raw target exactly as sent. Requests with a body sign its length,
type and hash as well, except uploads of objects, whose bytes no client hashes beforehand.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ocifree_pipeline.sandbox.oracle import errors

MAX_SKEW = timedelta(minutes=5)
ALWAYS = frozenset({"(request-target)", "host"})
WITH_BODY = frozenset({"content-length", "content-type", "x-content-sha256"})
BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})
PARAMETER = re.compile(r'\s*([A-Za-z]+)="([^"]*)"\s*(?:,|$)')


@dataclass(frozen=True, slots=True)
class Principal:
    """The user whose key signed the request."""

    tenancy: str
    user: str
    fingerprint: str


def fingerprint(pem: str) -> str:
    """Oracle's name for a public key: MD5 of its DER form, as colon-separated hex. ValueError when it is no RSA key."""
    der = _public_key(pem).public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashlib.md5(der, usedforsecurity=False).hexdigest()
    return ":".join(digest[at : at + 2] for at in range(0, 32, 2))


def key_id(tenancy: str, user: str, print_: str) -> str:
    return f"{tenancy}/{user}/{print_}"


def body_hash(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def verify(
    *,
    method: str,
    raw_target: str,
    headers: Mapping[str, str],
    keys: Mapping[str, str],
    wall: datetime,
    body: bytes | None,
) -> Principal:
    """The principal, or 401 NotAuthenticated. ``body`` None means a stream, whose hash need not be signed.

    The reason of a refusal is never told to the client: Oracle does not tell it either.
    """
    parameters = _parameters(headers.get("authorization", ""))
    signed = parameters["headers"].lower().split()
    _check_signed(method, signed, streamed=body is None)
    _check_date(headers, signed, wall)
    try:
        tenancy, user, print_ = parameters["keyId"].split("/")
        pem = keys[parameters["keyId"]]
        signature = base64.b64decode(parameters["signature"], validate=True)
        _public_key(pem).verify(
            signature, _signing_string(method, raw_target, headers, signed), padding.PKCS1v15(), hashes.SHA256()
        )
    except (KeyError, ValueError, binascii.Error, InvalidSignature) as error:
        raise errors.not_authenticated() from error
    if body is not None and "x-content-sha256" in signed and headers["x-content-sha256"] != body_hash(body):
        raise errors.not_authenticated()
    return Principal(tenancy, user, print_)


def _parameters(header: str) -> dict[str, str]:
    """The authorization header as a set of parameters: clients differ in their order."""
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != "signature":
        raise errors.not_authenticated()
    found: dict[str, str] = {}
    at = 0
    while at < len(rest):
        match = PARAMETER.match(rest, at)
        if match is None or match[1] in found:
            raise errors.not_authenticated()
        found[match[1]] = match[2]
        at = match.end()
    complete = {"keyId", "headers", "signature", "algorithm"} <= found.keys()
    if not complete or found["algorithm"].lower() != "rsa-sha256" or found.get("version", "1") != "1":
        raise errors.not_authenticated()
    return found


def _check_signed(method: str, signed: list[str], *, streamed: bool) -> None:
    required = ALWAYS | WITH_BODY if method in BODY_METHODS and not streamed else ALWAYS
    if not required <= set(signed) or len(signed) != len(set(signed)):
        raise errors.not_authenticated()


def _check_date(headers: Mapping[str, str], signed: list[str], wall: datetime) -> None:
    name = "x-date" if "x-date" in signed else "date"
    if name not in signed:
        raise errors.not_authenticated()
    try:
        date = parsedate_to_datetime(headers[name])
    except (KeyError, ValueError, OverflowError) as error:
        raise errors.not_authenticated() from error
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    if abs(date - wall) > MAX_SKEW:
        raise errors.not_authenticated()


def _signing_string(method: str, raw_target: str, headers: Mapping[str, str], signed: list[str]) -> bytes:
    lines = (
        f"(request-target): {method.lower()} {raw_target}" if name == "(request-target)" else f"{name}: {headers[name]}"
        for name in signed
    )
    return "\n".join(lines).encode("latin-1")


@lru_cache(maxsize=256)
def _public_key(pem: str) -> rsa.RSAPublicKey:
    key = serialization.load_pem_public_key(pem.encode())
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("only RSA public keys can sign requests to Oracle Cloud")
    return key
