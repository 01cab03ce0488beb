import json
import subprocess
import sys
from pathlib import Path

import pytest

from ocifree_pipeline.sandbox import profiles, snapshot
from ocifree_pipeline.sandbox.world import World, transition, transition_called
from ocifree_pipeline_tests.sandbox.harness import owner_keys


def furnished(directory: Path, seed: int = 1) -> World:
    directory.mkdir(parents=True, exist_ok=True)
    world = World(directory, seed=seed, mode="manual")
    profiles.seed(world, profiles.Profile(), owner_keys().public_pem)
    return world


def test_the_same_seed_gives_the_same_names(tmp_path):
    one, two, other = furnished(tmp_path / "1"), furnished(tmp_path / "2"), furnished(tmp_path / "3", seed=2)
    assert one.new_ocid("vcn", "uk-london-1") == two.new_ocid("vcn", "uk-london-1")
    assert one.tenancy == two.tenancy != other.tenancy
    assert one.random.random() == two.random.random()


def test_names_are_unique_and_shaped_like_oracles(tmp_path):
    world = furnished(tmp_path)
    made = {world.new_ocid("vcn", "uk-london-1") for _ in range(500)}
    assert len(made) == 500
    kind, region, unique = made.pop().split(".")[1], world.home_region, made.pop().split(".")[4]
    assert (kind, region, len(unique)) == ("vcn", "uk-london-1", 60)
    assert world.tenancy.startswith("ocid1.tenancy.oc1..")


def test_a_resource_gets_its_common_fields_and_a_new_etag_with_every_change(tmp_path):
    world = furnished(tmp_path)
    vcn = world.add("vcn", {"displayName": "a"})
    assert vcn.body["timeCreated"] == world.clock.stamp()
    assert (vcn.body["freeformTags"], vcn.body["definedTags"]) == ({}, {})
    before = vcn.etag
    world.change(vcn, displayName="b")
    assert vcn.etag != before
    assert world.anywhere(vcn.ocid) is vcn
    world.remove(vcn)
    assert world.anywhere(vcn.ocid) is None


def test_a_waiting_change_of_something_that_left_is_no_error(tmp_path):
    world = furnished(tmp_path)
    vcn = world.add("vcn", {"lifecycleState": "PROVISIONING"})
    world.later_state(5, vcn, "AVAILABLE")
    world.remove(vcn)
    world.clock.advance(10)
    assert world.settle() == 1


def test_what_is_terminated_stays_terminated(tmp_path):
    world = furnished(tmp_path)
    vcn = world.add("vcn", {"lifecycleState": "PROVISIONING"})
    world.later_state(5, vcn, "AVAILABLE")
    world.set_state("vcn", vcn.ocid, "TERMINATED")
    world.clock.advance(10)
    world.settle()
    assert vcn.state == "TERMINATED"


def test_transition_names_are_unique_and_must_be_known(tmp_path):
    with pytest.raises(ValueError, match="two transitions"):
        transition("set_state")(lambda world: None)
    world = furnished(tmp_path)
    world.clock.later(0, "nobody.knows")
    with pytest.raises(LookupError, match=r"nobody\.knows"):
        world.settle()


def test_a_snapshot_brings_everything_back(tmp_path):
    world = furnished(tmp_path / "world")
    (world.directory / "objects").mkdir()
    (world.directory / "objects" / "one").write_bytes(b"\x00bytes")
    vcn = world.add("vcn", {"lifecycleState": "PROVISIONING"})
    world.later_state(60, vcn, "AVAILABLE")
    world.random.random()
    saved = snapshot.save(world, tmp_path / "saved.tar.gz")
    assert saved.stat().st_mode & 0o077 == 0
    before = json.dumps(world.to_json(), sort_keys=True)
    expected_draw = world.random.random()

    world.clock.advance(3600)
    world.settle()
    world.add("vcn", {})
    (world.directory / "objects" / "one").write_bytes(b"other")
    (world.directory / "objects" / "two").write_bytes(b"new")
    snapshot.restore(world, saved)

    assert json.dumps(world.to_json(), sort_keys=True) == before
    assert world.random.random() == expected_draw
    assert (world.directory / "objects" / "one").read_bytes() == b"\x00bytes"
    assert not (world.directory / "objects" / "two").exists()
    world.clock.advance(61)
    world.settle()
    assert world.table("vcn")[vcn.ocid].state == "AVAILABLE"


def test_a_snapshot_opens_in_another_world(tmp_path):
    world = furnished(tmp_path / "world")
    saved = snapshot.save(world, tmp_path / "saved.tar.gz")
    fresh = World(tmp_path / "elsewhere" / "world", seed=99)
    fresh.directory.parent.mkdir()
    snapshot.restore(fresh, saved)
    assert fresh.tenancy == world.tenancy


@pytest.mark.parametrize("content", [b"", b"not a snapshot", b"\x1f\x8b\x08garbage"])
def test_a_file_that_is_no_snapshot_changes_nothing(tmp_path, content):
    world = furnished(tmp_path / "world")
    before = world.to_json()
    (tmp_path / "wrong").write_bytes(content)
    with pytest.raises(snapshot.SnapshotError, match="take a new one"):
        snapshot.restore(world, tmp_path / "wrong")
    assert world.to_json() == before


def test_a_private_key_is_written_for_its_owner_only(tmp_path):
    path = profiles.write_private_key(owner_keys(), tmp_path / "key.pem")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_world_from_a_file_knows_what_it_waits_for() -> None:
    """In a process of its own, as after a restart: nobody has asked for Talos yet, and time goes on."""
    script = """
from ocifree_pipeline.sandbox.door import server
from ocifree_pipeline.sandbox.world import TRANSITIONS, transition_called
assert "talos.no_network" not in TRANSITIONS
assert transition_called("talos.no_network") and transition_called("talos.leave_maintenance")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_an_unknown_transition_is_named() -> None:
    with pytest.raises(LookupError, match=r"moon\.rises"):
        transition_called("moon.rises")
