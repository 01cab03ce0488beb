"""The file that `ocifree init` writes."""

from __future__ import annotations

import re

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.deployment.problems import InvalidDeclaration
from ocifree_pipeline.deployment.starter import PLACEHOLDER_KEY, Answers, starter
from ocifree_pipeline_tests.deployment.declared import KEY

_keys = st.builds(
    lambda seed, comment: (
        ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        .public_key()
        .public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        .decode()
        + (f" {comment}" if comment else "")
    ),
    st.binary(min_size=32, max_size=32),
    # Comments hold anything: colons, hashes and quotes must survive YAML.
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
)
_answers = st.builds(
    Answers,
    name=st.from_regex(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?", fullmatch=True),
    region=st.sampled_from(["uk-london-1", "us-ashburn-1", "sa-saopaulo-1"]),
    account=st.just("payg"),
    topology=st.sampled_from(["auto", "talos-native", "proxmox-ceph"]),
    ssh_public_key=_keys,
    email=st.from_regex(r"[a-z0-9.+_-]{1,10}@[a-z]{1,8}\.example", fullmatch=True),
)


@given(answers=_answers)
def test_the_answers_are_what_is_read_back(answers: Answers) -> None:
    declaration = parse(starter(answers))
    assert declaration.name == answers.name
    assert declaration.site.region == answers.region
    assert declaration.topology == answers.topology
    assert declaration.access.ssh_public_keys == (answers.ssh_public_key,)
    assert declaration.budget.alert_emails == (answers.email,)


def test_without_any_answer_it_is_valid_and_says_what_to_replace() -> None:
    text = starter(Answers())
    assert parse(text).name == "lab"
    assert "REPLACE THIS KEY" in text
    assert "REPLACE THIS ADDRESS" in text


def test_with_answers_nothing_is_left_to_replace() -> None:
    text = starter(Answers(ssh_public_key=KEY, email="me@example.org"))
    assert "REPLACE" not in text
    assert PLACEHOLDER_KEY not in text


@pytest.mark.parametrize(
    ("topology", "allowance"),
    [("auto", "always-free-2026"), ("talos-native", "always-free-2026"), ("proxmox-ceph", "always-free-2025")],
)
def test_the_allowance_follows_the_topology_and_names_the_risk(topology: str, allowance: str) -> None:
    text = starter(Answers(topology=topology))
    assert parse(text).site.allowance == allowance
    assert ("RISK" in text) == (allowance == "always-free-2025")


def test_what_is_commented_out_is_valid_once_it_is_not() -> None:
    """Everything that looks like YAML behind a # can be switched on."""
    text = starter(Answers())
    switched_on = re.sub(r"^(\s*)# (?=\s*[a-z_]+:( |$))", r"\1", text, flags=re.MULTILINE)
    declaration = parse(switched_on)
    assert declaration.monitoring.grafana_cloud is not None
    assert declaration.access.tailscale.enabled
    assert set(yaml.safe_load(switched_on)) > set(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("answers", "path"),
    [
        (Answers(name="My Lab"), "name"),
        (Answers(name="on"), None),
        (Answers(region="London"), "site.region"),
        (Answers(account="gratis"), "site.account"),
        (Answers(email="me"), "budget.alert_emails[0]"),
        (Answers(ssh_public_key=""), "access.ssh_public_keys[0]"),
        (Answers(account="free", topology="proxmox-ceph"), "topology"),
        (Answers(name="a\nsite: {region: x}"), "name"),
    ],
)
def test_an_answer_that_cannot_be_used_is_named(answers: Answers, path: str | None) -> None:
    if path is None:
        assert parse(starter(answers)).name == answers.name
        return
    with pytest.raises(InvalidDeclaration) as caught:
        starter(answers)
    assert path in [problem.path for problem in caught.value.problems]
