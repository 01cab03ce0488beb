"""Which steps between versions are allowed, and a configuration with an older kubelet."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import Refused
from ocifree_pipeline.systems.talos.secrets import Bundle
from ocifree_pipeline.systems.talos.upgrading import require_adjacent, with_kubelet
from ocifree_pipeline_tests.sandbox.talos_nodes import V1_13, V1_14, configuration

RELEASE = st.tuples(st.just(1), st.integers(8, 12), st.integers(0, 3))


def text(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))


@settings(max_examples=60)
@given(st.lists(RELEASE, min_size=1, max_size=4), RELEASE)
def test_only_forward_and_by_one_minor_version_at_most(
    running: list[tuple[int, int, int]], goal: tuple[int, int, int]
) -> None:
    allowed = all(now <= goal and goal[1] - now[1] in {0, 1} for now in running)
    try:
        require_adjacent("Talos", [f"v{text(one)}" for one in running], text(goal))
    except Refused:
        assert not allowed
    else:
        assert allowed


@pytest.mark.parametrize(
    ("running", "wanted", "fix"),
    [
        ("1.11.4", "1.13.0", "declare the latest release of 1.12 first"),
        ("1.13.9", "1.13.8", "declare 1.13.9, or restore a backup into a new cluster"),
        ("1.13.0-beta.1", "1.13.0", "look at what the nodes run: `talosctl version`"),
    ],
)
def test_a_refusal_names_what_to_do(running: str, wanted: str, fix: str) -> None:
    with pytest.raises(Refused) as refused:
        require_adjacent("Talos", [running], wanted)
    assert refused.value.fix == fix


@pytest.mark.parametrize("versions", [V1_13, V1_14])
@pytest.mark.parametrize("role", ["controlplane", "worker"])
def test_only_the_kubelet_is_older(bundle: Bundle, versions: tuple[str, str], role: str) -> None:
    whole = configuration(bundle, role, versions)  # type: ignore[arg-type]
    older = with_kubelet(SecretStr(whole), "1.35.2").get_secret_value()
    image = f"ghcr.io/siderolabs/kubelet:v{versions[1]}"
    assert image in whole
    assert image not in older
    back = older.replace("ghcr.io/siderolabs/kubelet:v1.35.2", image)
    assert list(yaml.safe_load_all(back)) == list(yaml.safe_load_all(whole))


def test_a_configuration_without_a_kubelet_is_refused() -> None:
    with pytest.raises(Refused, match="which kubelet"):
        with_kubelet(SecretStr("machine: {type: worker}\n"), "1.35.2")
