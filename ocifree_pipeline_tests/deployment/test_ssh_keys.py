"""Public keys, made by a real library."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.deployment.ssh_keys import objection
from ocifree_pipeline_tests.deployment.declared import KEY


def _line(public: ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> str:
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@pytest.mark.parametrize("comment", ["", " me@laptop", " me, on the old laptop"])
def test_ed25519(comment: str) -> None:
    assert objection(_line(ed25519.Ed25519PrivateKey.generate().public_key()) + comment) is None


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_ecdsa(curve: ec.EllipticCurve) -> None:
    assert objection(_line(ec.generate_private_key(curve).public_key())) is None


@pytest.mark.parametrize(("bits", "accepted"), [(1024, False), (2048, True)])
def test_rsa(bits: int, accepted: bool) -> None:
    found = objection(_line(rsa.generate_private_key(65537, bits).public_key()))
    assert (found is None) == accepted


def test_hardware_keys() -> None:
    """sk- keys carry the name of the application after the key itself."""
    plain = _line(ed25519.Ed25519PrivateKey.generate().public_key()).split()[1]
    raw = base64.b64decode(plain)[4 + len("ssh-ed25519") :]
    kind, application = b"sk-ssh-ed25519@openssh.com", b"ssh:"
    blob = len(kind).to_bytes(4) + kind + raw + len(application).to_bytes(4) + application
    assert objection(f"sk-ssh-ed25519@openssh.com {base64.b64encode(blob).decode()}") is None


@given(cut=st.integers(min_value=1, max_value=60))
def test_a_key_that_was_cut_short_is_refused(cut: int) -> None:
    kind, body, _ = KEY.split()
    assert objection(f"{kind} {body[:-cut]}") is not None


@given(line=st.text(max_size=80))
def test_any_text_gets_an_answer(line: str) -> None:
    assert objection(line) is not None


@pytest.mark.parametrize("line", [f"{KEY}\n", f" {KEY}", f"{KEY}\n{KEY}", f'command="ls" {KEY}', "", "ssh-ed25519"])
def test_only_one_plain_line_is_taken(line: str) -> None:
    assert objection(line) is not None
