"""Checks of the group images: does it fit, is it nobody's yet, is it hardened, and does it start by UEFI."""

from __future__ import annotations

from pathlib import Path

from ocifree_pipeline.deployment.errors import PreconditionMissing
from ocifree_pipeline.record.definition import Step, Verdict
from ocifree_pipeline.record.facts import find_facts, materialize_command
from ocifree_pipeline.record.images import CustomImageFacts, ImageFacts, architecture_of
from ocifree_pipeline.record.outcome import Scalar

GIGA = 1_000_000_000


def size_budget(step: Step) -> Verdict:
    """The sizes of the files as they are now, each against its budget and all of them against theirs."""
    declared = step.blueprint.declaration.images
    rows: list[dict[str, Scalar]] = []
    sizes: dict[str, float] = {}
    for name in step.blueprint.images:
        key = f"images/{name}"
        if step.blueprint.declared_image(name).platform is not None:
            rows.append({"image": name, "GB": 0.0, "counted": "no: it is Oracle's own"})
            continue
        facts = step.facts(key, ImageFacts) if key == step.key else find_facts(step.instance, key, ImageFacts)
        if facts is None:
            rows.append({"image": name, "GB": None, "counted": "no: not there yet"})
            continue
        sizes[key] = _size(facts, key) / GIGA
        rows.append({"image": name, "GB": round(sizes[key], 3), "counted": "yes"})
    own, total = sizes.get(step.key, 0.0), sum(sizes.values())
    over = [f"{own:.2f} GB, and {declared.max_gb} GB are allowed"] if own >= declared.max_gb else []
    over += (
        [f"all images have {total:.2f} GB, and {declared.total_gb} GB are allowed"]
        if total >= declared.total_gb
        else []
    )
    return Verdict(
        not over,
        "; ".join(over) or f"{own:.2f} GB of {declared.max_gb}; all images {total:.2f} GB of {declared.total_gb}",
        numbers={"GB": own, "GB of all images": total},
        evidence=tuple(rows),
    )


def identity_clean(step: Step) -> Verdict:
    """Looks for what a first boot leaves behind: host keys, a machine id, cloud-init's memory of an instance."""
    name = step.key.rpartition("/")[2]
    if name.startswith("talos"):
        return Verdict(True, "does not apply: Talos makes its identity on first boot and its image cannot hold one")
    if step.blueprint.declared_image(name).platform is not None:
        return Verdict(True, "does not apply: the image is Oracle's, which takes this on itself")
    from ocifree_pipeline.systems.images.identity import traces_in

    facts = step.facts(step.key, ImageFacts)
    _size(facts, step.key)
    traces = traces_in(Path(facts.path))
    evidence: tuple[dict[str, Scalar], ...] = tuple({"found": one} for one in traces.found)
    numbers = {"traces": len(traces.found)}
    if traces.found:
        return Verdict(
            False,
            f"left in the image: {'; '.join(traces.found)}. Every machine from it would be the same one, or let "
            "somebody in; fix: `cloud-init clean --machine-id`, delete host keys, keys and passwords, make it anew",
            numbers=numbers,
            evidence=evidence,
        )
    if not traces.looked_at:
        return Verdict(
            False,
            f"not looked at: {'; '.join(traces.unread) or 'there is no partition'}. Only ext4 is read here; "
            "`identity_unique` compares the machines after their first boot",
            warn=True,
        )
    rest = f"; not read: {'; '.join(traces.unread)}" if traces.unread else ""
    return Verdict(True, f"nothing of a first boot in {', '.join(traces.looked_at)}{rest}", numbers=numbers)


def hardened(step: Step) -> Verdict:
    """What a machine from the image answered when it was started after its build, from inside and from outside."""
    name = step.key.rpartition("/")[2]
    if not step.blueprint.is_packer_build(name):
        return Verdict(True, "does not apply: it was made elsewhere; `guest_answers` judges the machines from it")
    from ocifree_pipeline.systems.packer.building import answers_of

    facts = step.facts(step.key, ImageFacts)
    _size(facts, step.key)
    answers = answers_of(Path(facts.path), facts.sha256)
    if not answers:
        return Verdict(
            False, f"nobody has started it: its record is gone or of another image; fix: rm {facts.path} and "
            f"{materialize_command(step.key)}",
        )  # fmt: skip
    bad = [one for one in answers if not one.good]
    return Verdict(
        not bad,
        f"not as it must be: {'; '.join(f'{one.what}: {one.found}' for one in bad)}; fix: mend the step in "
        f"packer/scripts, then {materialize_command(step.key)}"
        if bad
        else f"a machine from it gave {len(answers)} good answers",
        numbers={"answers that are not good": len(bad)},
        evidence=tuple({"asked": one.what, "found": one.found, "good": one.good} for one in answers),
    )


def firmware_uefi(step: Step) -> Verdict:
    """Asks Oracle what an instance of the image would get; what was requested at import proves nothing."""
    from ocifree_pipeline.deployment.image_rollout import USABLE
    from ocifree_pipeline.systems.journal import journal_of
    from ocifree_pipeline.systems.oci.custom_images import CustomImages
    from ocifree_pipeline.systems.oci.foundation.kinds import Scope
    from ocifree_pipeline.systems.oci.session import session_for

    facts, declaration = step.facts(step.key, CustomImageFacts), step.blueprint.declaration
    scope = Scope(session_for(declaration.site), declaration.name, None)
    image = CustomImages(scope, step.key, journal_of(declaration.name)).read(facts.ocid)
    name = step.key.rpartition("/")[2]
    mend = f"{materialize_command(step.key)} gives it UEFI_64 by a capability schema"
    evidence: tuple[dict[str, Scalar], ...] = (
        {
            "image": image.id,
            "state": image.state,
            "firmware": image.firmware,
            "shapes": ", ".join(sorted(image.shapes)),
        },
    )
    if image.state not in USABLE:
        again = materialize_command(step.key)
        return Verdict(False, f"the image is {image.state}; fix: {again}", evidence=evidence)
    missing = set(facts.shapes) - image.shapes
    if missing:
        return Verdict(
            False,
            f"no longer compatible with {', '.join(missing)}; fix: {materialize_command(step.key)}",
            evidence=evidence,
        )
    if architecture_of(name) == "amd64":
        return Verdict(True, f"{image.firmware}; x86_64 machines start with either", evidence=evidence)
    if image.firmware != "UEFI_64":
        return Verdict(
            False, f"{image.firmware}, and A1 starts nothing but UEFI_64: its console would stay empty; fix: {mend}",
            evidence=evidence,
        )  # fmt: skip
    return Verdict(True, "UEFI_64", evidence=evidence)


def _size(facts: ImageFacts, key: str) -> int:
    try:
        return Path(facts.path).stat().st_size
    except FileNotFoundError as error:
        raise PreconditionMissing(
            f"{facts.path} is gone", why="it was deleted from this computer", fix=materialize_command(key)
        ) from error
