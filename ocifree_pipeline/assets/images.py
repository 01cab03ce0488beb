"""images/<name> and oci/custom_image/<name>: from a template or a download to something Oracle boots."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from ocifree_pipeline.deployment.allowances import Resource, allowance
from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.errors import PreconditionMissing, Refused
from ocifree_pipeline.deployment.image_rollout import Rollout, WantedImage
from ocifree_pipeline.deployment.plan import A1_SHAPE, MICRO_SHAPE
from ocifree_pipeline.deployment.sections.images import PackerBuild, PlatformImage, Prebuilt
from ocifree_pipeline.record.definition import Step, define_asset
from ocifree_pipeline.record.facts import find_facts, materialize_command
from ocifree_pipeline.record.foundation import BucketFacts
from ocifree_pipeline.record.images import (
    CustomImageFacts,
    ImageFacts,
    PlatformImageFacts,
    architecture_of,
    folder_of_images,
)
from ocifree_pipeline.record.outcome import Outcome, Scalar

if TYPE_CHECKING:
    from ocifree_pipeline.systems.images.download import Fetched
    from ocifree_pipeline.systems.images.inspection import DiskImage
    from ocifree_pipeline.systems.images.progress import Tell
    from ocifree_pipeline.systems.oci.foundation.kinds import Scope
    from ocifree_pipeline.systems.oci.objects import Place
    from ocifree_pipeline.systems.oci.session import Session
    from ocifree_pipeline.systems.packer.building import Built

GROUP = "images"
GIGA = 1_000_000_000

_ENDINGS = {"image": "qcow2", "installer": "iso"}
_DESCRIBE = {
    "base_hardened_amd64": "Debian with keys-only SSH, nftables and security updates, for the Micro bastion (x86_64).",
    "base_hardened_arm64": "The same hardened Debian for Ampere (arm64); the Proxmox image starts from it.",
    "proxmox_ampere": "Proxmox VE and Ceph on the hardened Debian 13 for arm64, with a bridge that has no port.",
    "talos_oracle": "Talos Linux for Oracle's platform on arm64, from the image factory, console on ttyAMA0.",
    "talos_nocloud": "Talos Linux for virtual machines on Proxmox (nocloud, arm64), from the image factory.",
}
_SYSTEMS: dict[str, tuple[str, str | None]] = {
    "base_hardened_amd64": ("Debian", None),
    "proxmox_ampere": ("Debian", "13"),
    "talos_oracle": ("Talos", None),
}
"""What Oracle's console shows as the operating system of an imported image."""


def assets(blueprint: Blueprint) -> Iterator[dg.AssetsDefinition]:
    define = partial(define_asset, blueprint, group=GROUP)
    for name in blueprint.images:
        packer = blueprint.is_packer_build(name)
        deps = ["images/base_hardened_arm64"] if packer and name == "proxmox_ampere" else []
        yield define(
            f"images/{name}",
            _image,
            kinds=_kinds(blueprint, name),
            deps=deps,
            describe=_DESCRIBE[name],
        )
    for name in blueprint.custom_images:
        yield define(
            f"oci/custom_image/{name}",
            _custom_image,
            kinds={"oracle"},
            deps=[f"images/{name}", "oci/image_bucket"],
            describe=(
                f"`{name}` as a custom image: uploaded, imported with UEFI firmware where A1 needs it, and made "
                "compatible with its shape. Imported again only when the digest of the image changes."
            ),
        )


def _kinds(blueprint: Blueprint, name: str) -> set[str]:
    if name.startswith("talos"):
        return {"talos"}
    return {"packer", "debian"} if blueprint.is_built_here(name) else {"debian"}


def _name(step: Step) -> str:
    return step.key.rpartition("/")[2]


def _shape(name: str) -> str:
    return MICRO_SHAPE if architecture_of(name) == "amd64" else A1_SHAPE


# images/<name> ---------------------------------------------------------------------------------------------------


def _image(step: Step) -> Outcome:
    declared = step.blueprint.declared_image(_name(step))
    if declared.prebuilt is not None:
        return _prebuilt(step, declared.prebuilt)
    if declared.platform is not None:
        return _platform(step, declared.platform)
    if isinstance(declared.build, PackerBuild):
        return _built(step, declared.build)
    return _talos(step)


def _prebuilt(step: Step, declared: Prebuilt) -> Outcome:
    from ocifree_pipeline.systems.images.download import fetch

    fetched = fetch(
        declared.url,
        folder_of_images() / f"{declared.sha256}.qcow2",
        sha256=declared.sha256,
        most_bytes=_most_bytes(step),
        tell=_teller(step, "fetched"),
        accept=_startable(_name(step)),
    )
    return _file(step, fetched, declared.url, "the checksum of the declaration")


def _talos(step: Step) -> Outcome:
    from ocifree_pipeline.systems.images.talos_factory import fetch_talos, talos_image

    declaration = step.blueprint.declaration
    build = step.blueprint.declared_image(_name(step)).build
    image = talos_image(
        "oracle" if _name(step) == "talos_oracle" else "nocloud",
        declaration.kubernetes.talos_version,
        getattr(build, "extensions", ()),
    )
    step.say(f"composition {image.schematic.id}")
    fetched = fetch_talos(
        image,
        folder_of_images(),
        most_bytes=_most_bytes(step),
        tell=_teller(step, "fetched"),
        accept=_startable(_name(step)),
    )
    trust = (
        "trusted on first use: the factory publishes no checksums, and what came first is compared with from then on"
    )
    return _file(step, fetched, image.url, trust)


def _built(step: Step, declared: PackerBuild) -> Outcome:
    from ocifree_pipeline.systems.packer.building import build_image
    from ocifree_pipeline.systems.packer.host import find_host
    from ocifree_pipeline.systems.packer.template import MINUTES, Build, Template

    name, architecture = _name(step), architecture_of(_name(step))
    template: Template = "proxmox-ampere" if name == "proxmox_ampere" else "base-hardened"
    path, checksum, source = _base(step) if name == "proxmox_ampere" else _debian(step, declared)
    kind = declared.source.kind if declared.source else "image"
    built = build_image(
        Build(name, template, architecture, declared.debian, path, checksum, kind),
        folder_of_images(),
        lambda: find_host(architecture),
        most_bytes=_most_bytes(step),
        say=step.say,
    )
    seen, facts = _looked_into(name, built, source)
    minutes, allowed = built.seconds / 60, MINUTES[template]
    slow = "emulated: no budget" if built.accelerator == "tcg" else "over budget" if minutes > allowed else "in budget"
    evidence: list[dict[str, Scalar]] = [
        *_described(seen),
        {"what": "built", "found": f"in {minutes:.1f} min with {built.accelerator}; {allowed} min allowed: {slow}"},
        {"what": "packages", "found": f"{built.packages}, listed in {built.bill}"},
        {"what": "asked after a start", "found": f"{len(built.answers)} questions, all answered well"},
    ]
    evidence += [{"what": f"phase: {one.name}", "found": f"{one.seconds:.0f} s"} for one in built.phases]
    return Outcome(
        summary=_in_words(name, facts),
        facts=facts,
        plan=(f"build {name} from {source}",) if built.fresh else (),
        numbers={"size GB": built.size / GIGA, "build minutes": minutes, "packages": built.packages},
        evidence=evidence,
        look_inside=f"qemu-img info {built.path}",
    )


def _debian(step: Step, declared: PackerBuild) -> tuple[Path, str, str]:
    """The declared source, fetched and proved: its path, checksum and address."""
    from ocifree_pipeline.systems.images.download import fetch
    from ocifree_pipeline.systems.packer.installer import require_disc

    name, source = _name(step), declared.source
    if source is None:
        raise PreconditionMissing(
            f"images/{name} has nothing to start from",
            why=f"`images.{name}.build` names no source, and no mirror is chosen for you",
            fix=f"write `images: {{{name}: {{build: {{source: {{url, sha512}}}}}}}}` with Debian {declared.debian}'s "
            f"generic cloud image (qcow2) for {architecture_of(name)} and its line of SHA512SUMS",
        )
    fetched = fetch(
        source.url,
        folder_of_images() / f"source-{source.checksum.partition(':')[2][:64]}.{_ENDINGS[source.kind]}",
        sha256=source.sha256,
        sha512=source.sha512,
        most_bytes=_most_bytes(step),
        tell=_teller(step, "fetched"),
        accept=require_disc if source.kind == "installer" else _startable(name),
    )
    return fetched.path, source.checksum, source.url


def _base(step: Step) -> tuple[Path, str, str]:
    """The hardened image for arm64, as it was recorded."""
    key = "images/base_hardened_arm64"
    if step.blueprint.declared_image("base_hardened_arm64").platform is not None:
        raise Refused(
            "proxmox_ampere cannot be built on one of Oracle's images",
            why="`images.base_hardened_arm64.platform` stays at Oracle, and a build needs a file",
            fix="write `images: {base_hardened_arm64: {build: {source: {url, sha512}}}}`",
        )
    facts = step.facts(key, ImageFacts)
    path = Path(facts.path)
    _need_recorded(path, facts, key)
    return path, f"sha256:{facts.sha256}", key


def _file(step: Step, fetched: Fetched, source: str, trust: str) -> Outcome:
    name = _name(step)
    seen, facts = _looked_into(name, fetched, source)
    before = find_facts(step.instance, step.key, ImageFacts)
    plan = (f"fetch {source}",) if fetched.downloaded else ()
    if before is not None and before.sha256 != facts.sha256:
        plan = (*plan, f"the digest changed: {before.sha256[:12]} -> {facts.sha256[:12]}")
    return Outcome(
        summary=_in_words(name, facts),
        facts=facts,
        plan=plan,
        numbers={"size GB": fetched.size / GIGA, "bytes fetched": fetched.downloaded},
        evidence=[*_described(seen), {"what": "verified by", "found": trust}],
        links={"source": source},
        look_inside=f"qemu-img info {fetched.path}",
    )


def _looked_into(name: str, file: Built | Fetched, source: str) -> tuple[DiskImage, ImageFacts]:
    from ocifree_pipeline.systems.images.inspection import firmware_for, look_into

    seen, architecture = look_into(file.path), architecture_of(name)
    return seen, ImageFacts(
        path=str(file.path),
        sha256=file.sha256,
        size=file.size,
        virtual_size=seen.virtual_size,
        architecture=architecture,
        firmware=firmware_for(seen, architecture, name),
        source=source,
    )


def _in_words(name: str, facts: ImageFacts) -> str:
    from ocifree_pipeline.systems.images.progress import size_in_words

    return f"{name}: {size_in_words(facts.size)}, {facts.architecture}, {facts.firmware}, {facts.sha256[:12]}"


def _described(seen: DiskImage) -> list[dict[str, Scalar]]:
    if seen.unreadable:
        return [{"what": "inside", "found": f"not read: {seen.unreadable}"}]
    parts = [f"{name or 'unnamed'} ({system})" for name, system in zip(seen.partitions, seen.file_systems, strict=True)]
    return [
        {"what": "partitions", "found": ", ".join(parts) or "none"},
        {"what": "loaders", "found": ", ".join(sorted(seen.loaders)) or "none"},
        {"what": "disk of the guest", "found": f"{seen.virtual_size / GIGA:.1f} GB"},
    ]


def _platform(step: Step, declared: PlatformImage) -> Outcome:
    from ocifree_pipeline.systems.oci.errors import told
    from ocifree_pipeline.systems.oci.foundation.kinds import Scope
    from ocifree_pipeline.systems.oci.instances import platform_image
    from ocifree_pipeline.systems.oci.session import reading, session_for

    name, declaration = _name(step), step.blueprint.declaration
    if name == "talos_nocloud":
        raise Refused(
            "a guest on Proxmox cannot start from one of Oracle's images",
            why="`images.talos.platform` is meant for Talos straight on Oracle's machines",
            fix="write `images: {talos: {build: {}}}`",
        )
    session, shape = session_for(declaration.site), _shape(name)
    ocid = platform_image(Scope(session, declaration.name, None), declared, shape)
    with told(f"read the image {ocid}"):
        image = session.client("core.ComputeClient").get_image(ocid, retry_strategy=reading()).data
    facts = PlatformImageFacts(
        ocid=ocid, name=image.display_name, shape=shape, firmware=str(image.launch_options.firmware)
    )
    before = find_facts(step.instance, step.key, PlatformImageFacts)
    newer = before is not None and before.ocid != ocid
    return Outcome(
        summary=f"{name}: Oracle's {image.display_name}; nothing to fetch",
        facts=facts,
        plan=(f"Oracle published a newer one; new machines start from {image.display_name}",) if newer else (),
        numbers={"size GB": 0.0},
        look_inside=f"oci compute image get --image-id {ocid}",
    )


def _startable(name: str) -> Callable[[Path], None]:
    """Refuses a file that no machine of the image's architecture would start from, before it gets its name."""

    def accept(path: Path) -> None:
        from ocifree_pipeline.systems.images.inspection import firmware_for, look_into

        firmware_for(look_into(path), architecture_of(name), name)

    return accept


def _most_bytes(step: Step) -> int:
    return step.blueprint.declaration.images.max_gb * GIGA


def _teller(step: Step, verb: str) -> Tell:
    return lambda progress: step.say(f"{verb} {progress}")


# oci/custom_image/<name> ----------------------------------------------------------------------------------------


def _custom_image(step: Step) -> Outcome:
    from ocifree_pipeline.systems.journal import journal_of
    from ocifree_pipeline.systems.oci.custom_images import CustomImages, Source
    from ocifree_pipeline.systems.oci.foundation.kinds import Scope
    from ocifree_pipeline.systems.oci.limits import find_compartment
    from ocifree_pipeline.systems.oci.objects import Place
    from ocifree_pipeline.systems.oci.session import session_for

    declaration, name = step.blueprint.declaration, _name(step)
    disk, bucket = step.facts(f"images/{name}", ImageFacts), step.facts("oci/image_bucket", BucketFacts)
    session = session_for(declaration.site)
    compartment = find_compartment(session, declaration)
    if compartment is None:
        raise PreconditionMissing(
            "the compartment of this deployment is gone",
            why="images are imported into it",
            fix=materialize_command("oci/image_bucket"),
        )
    scope = Scope(session, declaration.name, compartment)
    images = CustomImages(scope, step.key, journal_of(declaration.name), step.say)
    wanted = WantedImage(name, disk.sha256, disk.firmware, _shape(name))
    folder = Place(bucket.namespace, bucket.bucket, f"images/{name}/")
    place = Place(bucket.namespace, bucket.bucket, f"{folder.name}{disk.sha256}.qcow2")

    rollout = images.plan(wanted)
    lines = list(rollout.lines())
    for line in lines:
        step.say(line)
    if rollout.imports:
        lines += _upload(step, scope, disk, place)
    image = images.converge(rollout, Source(place, *_SYSTEMS[name]))
    if rollout.older:
        # An import takes minutes; a machine may have been made from the older image in the meantime.
        rollout = images.plan(wanted)
    for older in rollout.removes:
        images.remove(older)
    lines += _tidy(step, session, folder, place)
    facts = CustomImageFacts(
        ocid=image.id, sha256=image.sha256, firmware=image.firmware, shapes=tuple(sorted(image.shapes))
    )
    return Outcome(
        summary=f"{name} ({image.sha256[:12]}): {image.firmware}, for {', '.join(facts.shapes)}{_offer(rollout)}",
        facts=facts,
        plan=tuple(lines),
        numbers={"changes": len(lines), "machines on older images": len(rollout.offers)},
        evidence=_lineage(rollout, facts),
        links={"console": f"https://cloud.oracle.com/compute/images/{image.id}?region={declaration.site.region}"},
        look_inside=f"oci compute image get --image-id {image.id}",
    )


def _upload(step: Step, scope: Scope, disk: ImageFacts, place: Place) -> list[str]:
    """The file in the bucket, with every limit asked before the first byte moves."""
    from ocifree_pipeline.systems.journal import journal_of
    from ocifree_pipeline.systems.oci.custom_images import require_count
    from ocifree_pipeline.systems.oci.objects import Upload, find_object, require_room

    path, declaration = Path(disk.path), step.blueprint.declaration
    require_count(scope, _name(step))
    there = find_object(scope.session, place)
    if there is not None and (there.size, there.sha256) == (disk.size, disk.sha256):
        return []
    _need_recorded(path, disk, f"images/{_name(step)}")
    free = allowance(declaration.site.allowance).limits_for(declaration.site.account)
    require_room(scope.session, disk.size, free.get(Resource.OBJECT_STORAGE_GB, 0))
    step.say(f"upload {path.name} to {place}")
    Upload(scope.session, journal_of(declaration.name), place, path, disk.sha256, tell=_teller(step, "uploaded")).run()
    return [f"upload {path.name}"]


def _need_recorded(path: Path, disk: ImageFacts, key: str) -> None:
    from ocifree_pipeline.systems.images.download import digest_of

    if not path.exists() or digest_of(path) != disk.sha256:
        raise PreconditionMissing(
            f"{path} is no longer the image that was recorded",
            why="it is missing, or its checksum differs",
            fix=materialize_command(key),
        )


def _tidy(step: Step, session: Session, folder: Place, place: Place) -> list[str]:
    """What the import has read takes free storage that backups need. Kept only if that was declared."""
    from ocifree_pipeline.systems.oci import objects

    lines = []
    for name in objects.objects_under(session, folder):
        if name != place.name or not step.blueprint.declaration.images.keep_uploads:
            objects.delete_object(session, objects.Place(folder.namespace, folder.bucket, name))
            lines.append(f"delete the uploaded file {name}: it is imported")
    for upload in objects.unfinished(session, folder):
        objects.abort(session, objects.Place(folder.namespace, folder.bucket, upload.object), upload.upload_id)
        lines.append(f"give up the unfinished upload of {upload.object}")
    return lines


def _offer(rollout: Rollout) -> str:
    if not rollout.offers:
        return ""
    return f"; {', '.join(rollout.offers)} still on an older image, left as they are"


def _lineage(rollout: Rollout, facts: CustomImageFacts) -> list[dict[str, Scalar]]:
    """Every image with its digest, and who runs from it. A machine is moved only by a decision of a person."""
    rows: list[dict[str, Scalar]] = [
        {"image": facts.ocid, "digest": facts.sha256[:12], "is": "wanted", "machines": "new ones"}
    ]
    return rows + [
        {
            "image": one.id,
            "digest": one.sha256[:12],
            "is": "kept: in use" if one.used_by else "removed" if one in rollout.removes else "left for the next run",
            "machines": ", ".join(one.used_by) or "none",
        }
        for one in rollout.older
    ]
