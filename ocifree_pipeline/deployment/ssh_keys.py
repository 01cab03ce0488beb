"""Whether a line is an OpenSSH public key that is still worth using. Pure; reads the wire format of RFC 4253."""

from __future__ import annotations

import base64
import binascii
import re

from ocifree_pipeline.deployment.objection import Objection

# Fields after the type name: length of the public part where it is fixed, by key type.
_ED25519_BYTES = 32
_MIN_RSA_BITS = 2048
_POINT_BYTES = {"nistp256": 65, "nistp384": 97, "nistp521": 133}
_TYPES = "ssh-ed25519, ecdsa-sha2-nistp256, ecdsa-sha2-nistp384, ecdsa-sha2-nistp521, ssh-rsa and their sk- forms"
_NEW_KEY = "make one with `ssh-keygen -t ed25519` and paste the line of the .pub file"

PATTERN = r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) AAAA[A-Za-z0-9+/]+={0,2}( [^\n]*)?"  # noqa: E501


def objection(line: str) -> Objection | None:
    """Why this is not a usable public key; None when it is."""
    words = line.split()
    if line != line.strip() or "\n" in line:
        return Objection("more than one line, or blanks around the key", "paste the single line of the .pub file")
    if len(words) == 1 and re.search(r"\.pub$|^[~/.]", line):
        return Objection("a file name; the file is not read", "paste what the file holds; `cat FILE` shows it")
    if words and words[0] == "ssh-dss":
        return Objection("a DSA key; OpenSSH no longer accepts them", _NEW_KEY)
    if len(words) < 2 or not re.match(r"ssh-|ecdsa-|sk-", words[0]):
        return Objection("not an OpenSSH public key: type, key and comment on one line", _NEW_KEY)
    try:
        fields = _fields(base64.b64decode(words[1], validate=True))
    except (binascii.Error, ValueError):
        return Objection("the key is damaged: it does not decode", "paste the whole line of the .pub file again")
    if not fields or fields[0] != words[0].encode():
        return Objection("the key is damaged: its inside names another type", "paste the whole line of the .pub file")
    return _by_type(words[0].removeprefix("sk-").removesuffix("@openssh.com"), fields[1:])


def _by_type(kind: str, fields: list[bytes]) -> Objection | None:
    damaged = Objection("the key is damaged: a part of it is missing", "paste the whole line of the .pub file again")
    if kind == "ssh-ed25519":
        return None if fields and len(fields[0]) == _ED25519_BYTES else damaged
    if kind.startswith("ecdsa-sha2-"):
        curve = kind.removeprefix("ecdsa-sha2-")
        right = len(fields) >= 2 and fields[0] == curve.encode() and len(fields[1]) == _POINT_BYTES.get(curve)
        return None if right else damaged
    if kind == "ssh-rsa":
        if len(fields) != 2:
            return damaged
        bits = int.from_bytes(fields[1]).bit_length()
        if bits < _MIN_RSA_BITS:
            return Objection(f"an RSA key of {bits} bits; fewer than {_MIN_RSA_BITS} can be broken", _NEW_KEY)
        return None
    return Objection(f"a type of key that is not known; known are {_TYPES}", _NEW_KEY)


def _fields(blob: bytes) -> list[bytes]:
    fields, at = [], 0
    while at < len(blob):
        size = int.from_bytes(blob[at : at + 4])
        field = blob[at + 4 : at + 4 + size]
        if len(field) != size or at + 4 > len(blob):
            raise ValueError("truncated")
        fields.append(field)
        at += 4 + size
    return fields
