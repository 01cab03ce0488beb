"""What a Talos node takes for a configuration, and what it says about one that it does not take."""

from __future__ import annotations

import base64
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.sandbox.machines.talos_configuration import Invalid, read
from ocifree_pipeline.systems.talos.nodes import Role
from ocifree_pipeline.systems.talos.secrets import Bundle, new_bundle
from ocifree_pipeline_tests.sandbox.talos_nodes import NAME, V1_13, V1_14, configuration

NOTHING = object()


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return new_bundle(datetime.now(UTC))


def changed(text: str, path: str, value: Any, *, kind: str | None = None) -> str:
    """The configuration with another value at a dotted path, or without it."""
    documents = list(yaml.safe_load_all(text))
    found = next(one for one in documents if one.get("kind") == kind)
    *way, last = path.split(".")
    for step in way:
        found = found[step]
    if value is NOTHING:
        del found[last]
    else:
        found[last] = value
    return yaml.safe_dump_all(documents)


@pytest.mark.parametrize("versions", [V1_13, V1_14])
@pytest.mark.parametrize("role", ["controlplane", "worker"])
def test_what_the_pipeline_writes_is_taken_in_both_dialects(
    bundle: Bundle, role: Role, versions: tuple[str, str]
) -> None:
    found = read(configuration(bundle, role, versions))
    assert (found.role, found.hostname, found.alternative_names) == (role, f"lab-{role}", (NAME, "203.0.113.9"))
    assert (found.authority.key is not None) == found.is_control_plane == (role == "controlplane")
    assert bundle.trustd_token not in repr(found)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("version", "v1beta1", "neither a kind nor version: v1alpha1"),
        ("machines", {}, "unknown keys found during decoding: machines"),
        ("machine", NOTHING, "machine instructions are required"),
        ("cluster", [], "cluster instructions are required"),
        ("machine.type", "master", "machine.type must be one of controlplane, init, worker"),
        ("machine.type", NOTHING, "machine.type must be one of"),
        ("machine.type", ["worker"], "machine.type must be one of"),
        ("machine.token", NOTHING, "machine.token is required"),
        ("machine.certSANs", "name", "machine.certSANs must be a list"),
        ("machine.ca", NOTHING, "machine.ca: it is required"),
        ("machine.ca.crt", "", "machine.ca: the certificate is required"),
        ("machine.ca.crt", "!", "machine.ca: the certificate is no Base64"),
        ("machine.ca.crt", "AAAA", "machine.ca: the certificate cannot be read"),
        ("machine.ca.key", "", "machine.ca: the key is required"),
        ("machine.ca.key", "AAAA", "machine.ca: the key cannot be read"),
        ("cluster.token", NOTHING, "cluster.token is required"),
        ("cluster.controlPlane.endpoint", "lab:6443", "cluster.controlPlane.endpoint must be a URL"),
        ("cluster.controlPlane", NOTHING, "cluster.controlPlane.endpoint must be a URL"),
        ("cluster.ca", NOTHING, "cluster.ca: it is required"),
        ("cluster.etcd", NOTHING, "cluster.etcd.ca: it is required"),
        ("cluster.aggregatorCA.key", "", "cluster.aggregatorCA: the key is required"),
        ("cluster.serviceAccount", NOTHING, "cluster.serviceAccount.key is required"),
    ],
)
def test_what_is_missing_or_wrong_is_named_by_its_field(bundle: Bundle, path: str, value: Any, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(changed(configuration(bundle), path, value))
    assert said in str(caught.value)


def test_the_key_of_another_authority_is_refused(bundle: Bundle) -> None:
    other = base64.b64encode(bundle.etcd.key.encode()).decode()
    with pytest.raises(Invalid, match=r"machine\.ca: the key is not that of the certificate"):
        read(changed(configuration(bundle), "machine.ca.key", other))


def test_everything_that_is_wrong_is_told_at_once(bundle: Bundle) -> None:
    text = changed(changed(configuration(bundle), "machine.token", NOTHING), "cluster.etcd", NOTHING)
    with pytest.raises(Invalid, match=r"machine\.token is required; cluster\.etcd\.ca: it is required"):
        read(text)


@pytest.mark.parametrize(
    ("kind", "path", "said"),
    [
        ("KubeAPIServerCAConfig", "issuingCA", "cluster.ca"),
        ("KubeAggregatorCAConfig", "issuingCA", "cluster.aggregatorCA"),
        ("KubeServiceAccountConfig", "issuer", "cluster.serviceAccount.key"),
        ("KubeClusterConfig", "endpoint", "cluster.controlPlane.endpoint"),
        ("KubePrismConfig", "apiVersion", "(KubePrismConfig) must have apiVersion: v1alpha1"),
    ],
)
def test_newer_documents_are_held_to_the_same(bundle: Bundle, kind: str, path: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(changed(configuration(bundle, versions=V1_14), path, NOTHING, kind=kind))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it needs one document with version: v1alpha1, and has 0"),
        ("#cloud-config\n", "has 0"),
        ("#cloud-config\nusers: []\n", "document 1 has neither a kind nor version"),
        ("- a\n", "document 1 is not a mapping"),
        ("version: v1alpha1\n---\nversion: v1alpha1\n", "and has 2"),
        ("apiVersion: v1alpha1\nkind: KmsgLogConfig\n", "has 0"),
    ],
)
def test_what_is_no_configuration_is_told_apart(text: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(text)
    assert said in str(caught.value)


def test_broken_yaml_is_placed_and_never_quoted(bundle: Bundle) -> None:
    text = configuration(bundle).replace(f"token: {bundle.trustd_token}", f"token: [{bundle.trustd_token}")
    with pytest.raises(Invalid, match=r"it is no YAML: line \d+, column \d+") as caught:
        read(text)
    assert bundle.trustd_token not in str(caught.value)
    assert caught.value.__suppress_context__


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PLACES = st.sampled_from(
    [
        "machine",
        "cluster",
        "machine.ca",
        "machine.token",
        "machine.type",
        "machine.certSANs",
        "machine.ca.crt",
        "machine.ca.key",
        "cluster.ca",
        "cluster.etcd",
        "cluster.controlPlane.endpoint",
        "version",
    ]
)


@given(path=PLACES, value=JSON)
def test_whatever_stands_somewhere_is_taken_or_refused_in_words(bundle: Bundle, path: str, value: Any) -> None:
    with suppress(Invalid):
        assert read(changed(configuration(bundle), path, value)).authority.key is not None


@given(text=st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    with pytest.raises(Invalid):
        read(text)
