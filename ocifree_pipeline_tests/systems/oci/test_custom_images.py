"""Imports through the real SDK: UEFI asked for and read back, one image a digest, nothing in use ever removed."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ocifree_pipeline.deployment.errors import AuthFailed, LimitReached, NotVerified, Transient
from ocifree_pipeline.deployment.plan import A1_SHAPE, MICRO_SHAPE
from ocifree_pipeline.sandbox.oracle import image_import, images
from ocifree_pipeline.systems.oci.custom_images import require_count
from ocifree_pipeline.systems.oci.waiting import TimedOut
from ocifree_pipeline_tests.chaos.crash import crash_everywhere
from ocifree_pipeline_tests.systems.oci.image_world import ImageWorld, image_world

IMPORTED = ["PutObject", "CreateImage", "AddImageShapeCompatibilityEntry"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ImageWorld]:
    with image_world(tmp_path) as here:
        yield here


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """An Oracle that does not heed the launch options, as the SDK's model suggests."""
    create = image_import.create

    def ignoring(call):
        call.body.pop("launchOptions", None)
        call.body["launchMode"] = "PARAVIRTUALIZED"
        return create(call)

    monkeypatch.setattr(images.image_import, "create", ignoring)


def test_an_import_has_uefi_and_its_shape_and_a_second_run_changes_nothing(world):
    image = world.converge()
    assert (image.firmware, image.shapes) == ("UEFI_64", frozenset({A1_SHAPE}))
    assert world.operations() == IMPORTED
    assert world.converge() == image
    assert world.operations() == IMPORTED
    tags = world.tenancy.session.client("core.ComputeClient").get_image(image.id).data.freeform_tags
    assert tags == {
        "ocifree-deployment": "lab",
        "ocifree-key": "oci/custom_image/talos_oracle",
        "ocifree-sha256": image.sha256,
    }


def test_an_x86_image_may_have_bios(world):
    image = world.converge(firmware="BIOS", shape=MICRO_SHAPE)
    assert (image.firmware, image.shapes) == ("BIOS", frozenset({MICRO_SHAPE}))


def test_launch_options_that_oracle_ignores_are_said_again_by_a_capability_schema(world, deaf):
    image = world.converge()
    assert image.firmware == "UEFI_64"
    assert world.operations() == [*IMPORTED[:2], "CreateComputeImageCapabilitySchema", IMPORTED[2]]
    assert world.converge() == image
    assert len(world.operations()) == 4


def test_an_image_of_somebody_else_is_nobodys_business(world):
    world.converge()
    world.tenancy.sandbox.inside(
        lambda inner: [one.body["freeformTags"].update({"ocifree-deployment": "other"}) for one in inner.all("image")]
    )
    world.converge()
    assert len(world.custom_images()) == 2


def test_a_changed_digest_is_imported_beside_the_old_one_which_goes_when_nobody_uses_it(world):
    first = world.converge()
    second = world.converge("second")
    assert second.id != first.id
    assert world.custom_images() == [second.sha256]


def test_an_image_that_a_machine_runs_from_stays_and_the_machine_is_offered_a_roll(world):
    first = world.converge()
    body = {
        "displayName": "lab-ampere-1", "imageId": first.id, "lifecycleState": "RUNNING",
        "compartmentId": world.tenancy.session.tenancy, "availabilityDomain": "x", "region": "r", "shape": A1_SHAPE,
    }  # fmt: skip
    machine = world.tenancy.sandbox.inside(lambda inner: inner.add("instance", body).ocid)
    second = world.converge("second")
    assert world.custom_images() == sorted([first.sha256, second.sha256])
    plan = world.images().plan(world.wanted("second"))
    assert (plan.offers, plan.removes, plan.lines()) == (("lab-ampere-1",), (), ())
    world.tenancy.sandbox.inside(lambda inner: inner.set_state("instance", machine, "TERMINATED"))
    assert world.images().plan(world.wanted("second")).lines() == (
        f"remove the older talos_oracle ({first.sha256[:12]}): nothing runs from it",
    )
    world.converge("second")
    assert world.custom_images() == [second.sha256]


@pytest.mark.parametrize("ignores_options", [False, True])
def test_a_process_that_dies_at_any_call_ends_with_one_image(tmp_path, ignores_options, request):
    if ignores_options:
        request.getfixturevalue("deaf")
    number = itertools.count()

    @contextmanager
    def fresh() -> Iterator[ImageWorld]:
        with image_world(tmp_path / str(next(number))) as here:
            yield here

    def look(here: ImageWorld) -> object:
        return here.custom_images(), here.tenancy.in_words("image", "imagecapabilityschema")

    crash_everywhere(fresh, lambda here: here.converge(), look, at_least=3)


def test_a_lost_reply_is_found_by_its_tags(world):
    world.fault("CreateImage", "reset")
    with pytest.raises(Transient):
        world.converge()
    world.converge()
    assert world.operations().count("CreateImage") == 1
    assert len(world.custom_images()) == 1


def test_a_late_failure_is_told_in_oracles_words_and_the_next_import_is_another_one(world):
    forget = image_import._object
    calls = itertools.count()

    def gone_at_the_end(*args):
        if next(calls) == 1:
            raise image_import.errors.not_found("gone")
        return forget(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_import, "_object", gone_at_the_end)
        with pytest.raises(NotVerified) as caught:
            world.converge()
    assert "ObjectNotFound" in caught.value.why
    assert world.tenancy.journal().open_intents() == []
    assert world.converge().firmware == "UEFI_64"
    assert len(world.custom_images()) == 1


def test_an_import_that_takes_longer_than_our_patience_is_taken_up_again(world):
    world.tenancy.sandbox.inside(lambda inner: inner.clock.set_mode("manual", 1.0))
    world.tenancy.clock.sleep = lambda seconds: setattr(  # type: ignore[method-assign]
        world.tenancy.clock, "now", world.tenancy.clock.now + seconds
    )
    with pytest.raises(TimedOut, match="in vain") as caught:
        world.converge()
    assert "IMPORTING" in caught.value.why
    assert world.images().plan(world.wanted()).lines()[0].startswith("wait for the import")
    world.tenancy.sandbox.advance(3600)
    world.converge()
    assert world.operations().count("CreateImage") == 1


def test_an_account_without_custom_images_hears_it_before_the_upload(tmp_path):
    with image_world(tmp_path, account="free") as world:
        with pytest.raises(LimitReached) as caught:
            require_count(world.scope, "talos_oracle")
        assert "Pay As You Go" in caught.value.why
        assert "platform" in caught.value.fix
        with pytest.raises(LimitReached, match="may not keep another custom image"):
            world.converge()
        assert world.custom_images() == []
        assert world.tenancy.journal().open_intents() == []


def test_a_refusal_uses_the_token_up_and_a_passing_fault_does_not(world):
    world.upload(part_bytes=0)
    world.fault("CreateImage", status=503, code="ServiceUnavailable")
    with pytest.raises(Transient):
        world.converge()
    (kept,) = world.tenancy.journal().open_intents()
    world.fault("CreateImage", status=401, code="NotAuthenticated")
    with pytest.raises(AuthFailed):
        world.converge()
    assert world.tenancy.journal().open_intents() == []
    assert kept.token
    world.converge()


def test_a_shape_that_was_taken_off_is_put_back(world):
    image = world.converge()
    world.tenancy.session.client("core.ComputeClient").remove_image_shape_compatibility_entry(image.id, A1_SHAPE)
    assert world.images().plan(world.wanted()).lines() == (f"make talos_oracle compatible with {A1_SHAPE}",)
    assert world.converge().shapes == frozenset({A1_SHAPE})
