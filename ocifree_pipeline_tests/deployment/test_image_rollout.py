"""The plan for custom images: pure, so every combination can be tried."""

from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.deployment.image_rollout import ARRIVING, USABLE, Imported, WantedImage, rollout

WANTED = WantedImage("talos_oracle", "a" * 64, "UEFI_64", "VM.Standard.A1.Flex")

images = st.lists(
    st.builds(
        Imported,
        id=st.uuids().map(str),
        sha256=st.sampled_from(["a" * 64, "b" * 64, "c" * 64]),
        state=st.sampled_from(["AVAILABLE", "IMPORTING", "PROVISIONING", "DELETED", "DISABLED"]),
        created=st.sampled_from(["2026-01-01", "2026-01-02"]),
        firmware=st.sampled_from(["BIOS", "UEFI_64", ""]),
        shapes=st.frozensets(st.sampled_from([WANTED.shape, "other"])),
        used_by=st.lists(st.sampled_from(["ampere_1", "bastion"]), max_size=2).map(tuple),
    ),
    max_size=6,
)


@given(images)
def test_what_is_in_use_or_wanted_is_never_removed(found):
    plan = rollout(WANTED, found)
    assert not any(one.used_by for one in plan.removes)
    assert plan.current not in plan.removes
    assert all(one.state in USABLE for one in plan.removes)
    assert plan.imports == (not any(o.sha256 == WANTED.sha256 and o.state in USABLE | ARRIVING for o in found))
    assert plan.imports or plan.current.sha256 == WANTED.sha256


@given(images)
def test_the_order_in_which_oracle_lists_them_does_not_matter(found):
    assert rollout(WANTED, found) == rollout(WANTED, list(reversed(found)))


@given(images)
def test_a_plan_without_lines_is_a_plan_without_work(found):
    plan = rollout(WANTED, found)
    if not plan.lines():
        assert plan.current is not None
        assert (plan.current.firmware, plan.removes) == (WANTED.firmware, ())
        assert WANTED.shape in plan.current.shapes
