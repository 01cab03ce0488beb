"""Secrets that were written out are found, and never repeated."""

from __future__ import annotations

import base64
import hashlib
import json
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ocifree_pipeline.deployment.explaining import shown
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.deployment.problems import InvalidDeclaration, as_json, render
from ocifree_pipeline.deployment.secret_literals import masked, secret_kind
from ocifree_pipeline.deployment.secret_reference import SecretRef
from ocifree_pipeline_tests.deployment.declared import KEY, declared

BASE62 = string.ascii_letters + string.digits
_hashes = st.binary().map(lambda seed: hashlib.sha512(seed).digest())
_random_tokens = st.one_of(
    st.builds(lambda raw, size: base64.b64encode(raw[:size]).decode(), _hashes, st.integers(30, 64)),
    st.builds(lambda raw, size: base64.urlsafe_b64encode(raw[:size]).decode(), _hashes, st.integers(30, 64)),
    st.builds(lambda raw, size: raw[:size].hex(), _hashes, st.sampled_from([20, 24, 48, 64])),
)
_known_tokens = st.builds(
    str.__add__,
    st.sampled_from(["tskey-auth-", "glc_", "glsa_", "ghp_", "github_pat_", "glpat-", "xoxb-", "AGE-SECRET-KEY-1"]),
    st.text(BASE62, min_size=16, max_size=40),
)
_aws_keys = st.text(string.ascii_uppercase + string.digits, min_size=16, max_size=16).map("AKIA".__add__)
_pem = st.builds(
    lambda kind, raw: f"-----BEGIN {kind}-----\n{base64.b64encode(raw).decode()}\n-----END {kind}-----\n",
    st.sampled_from(["RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "EC PRIVATE KEY", "PRIVATE KEY"]),
    st.binary(min_size=60, max_size=200),
)
_addresses = st.builds(
    lambda user, password: f"https://{user}:{password}@git.example.org/me/lab",
    st.text(string.ascii_lowercase, min_size=1, max_size=8),
    st.text(BASE62, min_size=8, max_size=20),
)
_secrets = st.one_of(_known_tokens, _aws_keys, _pem, _addresses)

# Places for a text: some want a reference, some want something else, and some do not exist.
PLACES = (
    "secrets: {{a: {value}}}",
    "notify: [{value}]",
    "access: {{ssh_public_keys: [{value}]}}",
    "access: {{ssh_public_keys: ['" + KEY + "'], tailscale: {{auth_key: {value}}}}}",
    "site: {{region: {value}}}",
    "name: {value}",
    "hunt: {{interval_minutes: {value}}}",
    "nodes: {{ampere: [{{ocpus: {value}}}]}}",
    "network: {{pods: {value}}}",
    "kubernetes: {{flux: {{repository: {value}}}}}",
    "monitoring: {{contact_emails: [{value}]}}",
    "unknown: {{deeper: [{{still: {value}}}]}}",
    "{value}: 1",
    "secrets: {{{value}: 'env:A'}}",
    "kubernetes: {{namespaces: {{{value}: {{cpu: '1'}}}}}}",
    "site: {{region: uk-london-1, {value}: x}}",
)


def _everything_said(error: InvalidDeclaration) -> str:
    spoken = [str(error), repr(error), render(error.problems), json.dumps(as_json(error.problems))]
    return "\n".join([*spoken, *map(repr, error.problems)]).replace("\\n", "\n")


def _core(secret: str) -> str:
    """The part that nobody may see: past the mask, and without the words around a PEM block."""
    return secret.splitlines()[1] if secret.startswith("-----") else secret[4:]


@given(secret=_secrets, place=st.sampled_from(PLACES))
def test_a_known_secret_is_refused_wherever_it_stands_and_never_repeated(secret: str, place: str) -> None:
    with pytest.raises(InvalidDeclaration) as caught:
        parse(declared(place.format(value=json.dumps(secret)) + "\n"))
    assert any("this file is no place for one" in problem.why for problem in caught.value.problems)
    assert _core(secret) not in _everything_said(caught.value)


@given(secret=_random_tokens)
def test_a_random_token_is_noticed(secret: str) -> None:
    assert secret_kind(secret) is not None
    assert secret_kind(f"Bearer {secret}") is not None


@given(
    secret=st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=12, max_size=40),
    place=st.sampled_from(PLACES[:4]),
)
def test_a_password_of_no_known_form_is_not_repeated_where_a_secret_belongs(secret: str, place: str) -> None:
    assume(SecretRef.parse(secret) is None)
    assume("ssh_public_keys: [{value}]" not in place)
    assume(not secret.startswith("secret:"))
    with pytest.raises(InvalidDeclaration) as caught:
        parse(declared(place.format(value=json.dumps(secret)) + "\n"))
    assert secret[4:] not in _everything_said(caught.value)


@given(text=st.text(max_size=200))
def test_a_mask_shows_at_most_four_characters_and_a_quarter(text: str) -> None:
    shown = masked(text).removesuffix("…")
    assert text.startswith(shown)
    assert len(shown) <= min(4, len(text) / 4)


@given(number=st.integers(10**9, 10**18))
def test_a_number_is_not_repeated_where_a_secret_belongs(number: int) -> None:
    with pytest.raises(InvalidDeclaration) as caught:
        parse(declared(f"access: {{ssh_public_keys: ['{KEY}'], tailscale: {{auth_key: {number}}}}}\n"))
    assert str(number) not in _everything_said(caught.value)


HARMLESS = (
    KEY,
    KEY.rpartition(" ")[0],
    "ocid1.tenancy.oc1..aaaaaaaa7f4k2zq3x5w6v7u8t9s0r1q2p3o4n5m6l7k8j9i0h1g2f3e4d5c6",
    "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba",
    "https://factory.talos.dev/image/376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba/v1.13.9/a.qcow2",
    "https://prometheus-prod-05-gb-south-0.grafana.net/api/prom/push",
    "https://objectstorage.uk-london-1.oraclecloud.com/n/namespace/b/images/o/proxmox-ampere-13.qcow2",
    "ssh://git@git.example.org/me/infrastructure-of-the-lab.git",
    "env:GRAFANA_CLOUD_ACCESS_POLICY_TOKEN_2026",
    "sops:clusters/lab/secrets.enc.yaml#monitoring.grafana_cloud.token",
    "Uocm:US-ASHBURN-AD-1",
    "an-ordinary-but-rather-long-name-with-7-numbers-1-2-3",
    "someone.with.a.long.name+alerts@mail.example.org",
    "base_hardened_arm64",
    "22.04 Minimal aarch64",
    "/home/me/Projects-2026/Lab1/oci.d/Config2/Profile3/key4.cfg",
    "~/.config/Oracle9/Tenancy-A1b/config",
)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret(text: str) -> None:
    assert secret_kind(text) is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("-----BEGIN RSA PRIVATE KEY-----", "a private key"),
        ("-----BEGIN CERTIFICATE-----", "a PEM block"),
        ("PuTTY-User-Key-File-3: ssh-ed25519", "a private key"),
        ("AGE-SECRET-KEY-1QQQ", "an age private key"),
        ("tskey-auth-k", "a Tailscale key"),
        ("tskey-client-k", "a Tailscale key"),
        ("glc_x", "a Grafana Cloud access token"),
        ("glsa_x", "a Grafana service account token"),
        ("ghp_x", "a GitHub token"),
        ("github_pat_x", "a GitHub token"),
        ("glpat-x", "a GitLab token"),
        ("xoxb-1", "a Slack token"),
        ("AKIAIOSFODNN7EXAMPLE", "an AWS access key"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.x", "a signed token (JWT)"),
        ("postgres://me:pass@db/lab", "a password inside an address"),
        ("https://token@git.example.org/me/lab", "a credential inside an address"),
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "a long random token"),
        ("9f86d081884c7d659a2feaa0c55ad015", "a long random token"),
    ],
)
def test_kinds_of_secrets(text: str, kind: str) -> None:
    assert secret_kind(text) == kind


@given(secret=_secrets)
def test_what_is_shown_of_a_value_is_never_a_secret(secret: str) -> None:
    """Even where nothing looked for secrets before."""
    assert _core(secret) not in shown(secret, ("name",))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"),
        (True, "true"),
        (1, "1"),
        (0.5, "0.5"),
        ("two\n lines", "two lines"),
        ("x" * 80, "x" * 59 + "…"),
        ({}, "an empty section"),
        ({"a": 1}, "a section of 1 key"),
        ({"a": 1, "b": 2}, "a section of 2 keys"),
        ([], "an empty list"),
        (["a", "b"], "a list of 2"),
    ],
)
def test_how_values_are_shown(value: object, text: str) -> None:
    assert shown(value, ("name",)) == text
