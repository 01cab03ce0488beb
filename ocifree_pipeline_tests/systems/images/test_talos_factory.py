"""Names of compositions, computed here and by the factory; images that are trusted on first use and compared later."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.deployment.errors import NotVerified, Refused, Throttled, Transient
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.image_hosts import factory
from ocifree_pipeline.systems.images.inspection import look_into
from ocifree_pipeline.systems.images.talos_factory import Schematic, fetch_talos, register, talos_image

VANILLA = "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"
GUEST_AGENT = "ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515"


def test_the_names_that_the_real_factory_is_known_to_give():
    assert Schematic().id == VANILLA
    assert Schematic(extensions=("siderolabs/qemu-guest-agent",)).id == GUEST_AGENT


words = st.from_regex(r"[a-z0-9][a-z0-9-]{0,12}", fullmatch=True)
extensions = st.lists(st.tuples(words, words).map("/".join), max_size=4, unique=True).map(tuple)


@given(st.lists(words.map("console={}".format), max_size=3).map(tuple), extensions)
def test_our_spelling_means_what_it_says_and_is_the_sandboxs_spelling(arguments, chosen):
    schematic = Schematic(arguments, chosen)
    parsed = yaml.safe_load(schematic.as_yaml())
    assert parsed["customization"].get("extraKernelArgs", []) == list(arguments)
    assert parsed["customization"].get("systemExtensions", {}).get("officialExtensions", []) == list(chosen)
    assert factory.identity(parsed) == schematic.id


def test_the_platform_gets_what_it_needs_and_the_order_of_the_declaration_does_not_matter():
    one = talos_image("nocloud", "1.13.9", ["siderolabs/util-linux-tools", "siderolabs/iscsi-tools"])
    other = talos_image("nocloud", "1.13.9", ["siderolabs/iscsi-tools", "siderolabs/util-linux-tools"])
    assert one == other
    assert one.schematic.extensions[1] == "siderolabs/qemu-guest-agent"
    assert one.schematic.kernel_args == ("console=ttyAMA0",)
    assert one.url == f"https://factory.talos.dev/image/{one.schematic.id}/v1.13.9/nocloud-arm64.qcow2"
    assert talos_image("oracle", "1.13.9", []).schematic.extensions == ()


@pytest.fixture
def get(door, tmp_path):
    image = talos_image("oracle", "1.13.9", ["siderolabs/iscsi-tools"])

    def fetch(**more):
        return fetch_talos(
            image, tmp_path / "images", most_bytes=10**9, tell=lambda p: None, accept=lambda p: None, **more
        )

    return fetch


def asked(door, **more):
    return [entry.operation for entry in door.recorder if entry.service == "imagefactory"]


def test_an_image_of_the_factory_starts_on_arm64_and_is_fetched_once(door, get):
    fetched = get()
    assert "BOOTAA64.EFI" in look_into(fetched.path).loaders
    assert asked(door) == ["CreateSchematic", "GetImage"]
    again = get()
    assert (again.downloaded, again.sha256) == (0, fetched.sha256)
    assert asked(door) == ["CreateSchematic", "GetImage"]


def test_another_image_under_the_same_name_is_refused_until_a_person_says_so(door, get, monkeypatch):
    first = get()
    first.path.unlink()
    make = factory.make_qcow2
    monkeypatch.setattr(factory, "make_qcow2", lambda *a, **k: make(*a, **(k | {"identity": "built anew"})))
    factory._disk.cache_clear()
    with pytest.raises(NotVerified, match="another image than the first time") as caught:
        get()
    assert first.sha256 in caught.value.why
    memory = caught.value.fix.rpartition("rm ")[2]
    assert not first.path.exists()
    from pathlib import Path

    Path(memory).unlink()
    assert get().sha256 != first.sha256
    factory._disk.cache_clear()


def test_a_file_that_rotted_in_the_cache_is_fetched_again(get):
    first = get()
    first.path.write_bytes(b"rotten")
    again = get()
    assert (again.sha256, again.downloaded > 0) == (first.sha256, True)


def test_the_factory_does_not_know_what_nobody_told_it(door, get, monkeypatch):
    from ocifree_pipeline.systems.images import talos_factory

    monkeypatch.setattr(talos_factory, "register", lambda schematic: None)
    with pytest.raises(Refused, match="answered 404"):
        get()


@pytest.mark.parametrize(
    ("rule", "error", "says"),
    [
        (Rule(operation="CreateSchematic", status=503), Transient, "503"),
        (Rule(operation="CreateSchematic", status=429), Throttled, "429"),
        (Rule(operation="CreateSchematic", status=400, message="no such extension"), Refused, "no such extension"),
        (Rule(operation="CreateSchematic", moment="reset"), Transient, "does not answer"),
    ],
)
def test_what_the_factory_can_answer(door, get, rule, error, says):
    door.faults.add(rule)
    with pytest.raises(error, match=says):
        get()
    assert [one.moment for one in door.faults.fired] == [rule.moment]
    assert get().downloaded > 0


def test_a_name_other_than_ours_means_that_something_else_was_composed(door, monkeypatch):
    monkeypatch.setattr(factory, "identity", lambda schematic: "f" * 64)
    with pytest.raises(NotVerified, match="otherwise than computed here") as caught:
        register(Schematic())
    assert VANILLA in caught.value.why
