"""Files that come into a storage: downloads, uploads, templates of containers."""

import hashlib
import re
from typing import Any

from ocifree_pipeline.sandbox.proxmox import access, tasks, templates, volumes
from ocifree_pipeline.sandbox.proxmox.errors import died, wrong
from ocifree_pipeline.sandbox.proxmox.methods import Call, everybody, method, needs
from ocifree_pipeline.sandbox.proxmox.nodes import Node
from ocifree_pipeline.sandbox.proxmox.schema import Parameter, flag, form, one_of, text
from ocifree_pipeline.sandbox.proxmox.tasks import Task, TaskError, work

ENDINGS = {
    "iso": r".+\.(iso|img)",
    "vztmpl": r".+\.tar\.(gz|xz|zst|bz2)",
    "import": r"[A-Za-z0-9._-]+\.(qcow2|raw|vmdk|ova)",
}
DOWNLOAD: dict[str, Parameter] = {
    "url": text(required=True, pattern=r"https?://.*"),
    "content": one_of("iso", "vztmpl", "import", required=True),
    "filename": text(required=True, longest=255),
    "checksum": text(),
    "checksum-algorithm": one_of("md5", "sha1", "sha224", "sha256", "sha384", "sha512"),
    "compression": text(),
    "verify-certificates": flag(),
}


def _may_fetch(call: Call) -> None:
    access.require(call.node, call.caller, f"/storage/{call['storage']}", ["Datastore.AllocateTemplate"])
    rights = access.privileges(call.node, call.caller, "/")
    if not call.caller.is_root and not {"Sys.Audit", "Sys.Modify"} <= rights:
        access.require(call.node, call.caller, f"/nodes/{call.node.name}", ["Sys.AccessNetwork"])


def check_name(content: str, name: str) -> None:
    if not re.fullmatch(ENDINGS[content], name) or "/" in name:
        raise wrong(filename="invalid filename or wrong extension")


@method("POST", "/nodes/{node}/storage/{storage}/download-url", DOWNLOAD, may=_may_fetch)
def _download(call: Call) -> Any:
    if bool(call.get("checksum")) != bool(call.get("checksum-algorithm")):
        missing = "checksum" if call.get("checksum-algorithm") else "checksum-algorithm"
        raise wrong(**{missing.replace("-", "__"): "missing, required by the other one"})
    if call.get("compression"):
        if call["content"] != "iso":
            raise wrong(compression=f"decompression not supported for {call['content']}")
        if call["compression"] not in {"gz", "lzo", "zst", "bz2"}:
            raise wrong(compression=f"unknown compression algorithm '{call['compression']}'")
    check_name(call["content"], call["filename"])
    volumes.storage(call.node, call["storage"], content=call["content"])
    args = {name: call[name] for name in (*DOWNLOAD, "storage") if name in call.values}
    return tasks.start(call.node, "download", call["filename"], call.caller.name, args, seconds=10)


@work("download")
def _fetch(node: Node, task: Task, args: dict[str, Any]) -> float | None:
    if "template" in args:
        return _fetch_template(node, task, args)
    task["log"].append(f"downloading {args['url']} to /var/lib/vz/template/{args['content']}/{args['filename']}")
    volid = f"{args['storage']}:{args['content']}/{args['filename']}"
    algorithm, wanted = args.get("checksum-algorithm"), str(args.get("checksum", "")).lower()
    there = volumes.table(node, args["storage"]).get(volid)
    if there is not None:
        if wanted and there.get("file") == wanted:
            task["log"].append("got correct file already, no need to download")
            return None
        raise TaskError(f"refusing to override existing file '{args['filename']}'")
    data = volumes.fetch(node.world, args["url"])
    if data is None:
        raise TaskError(f"download failed: unable to resolve or fetch {args['url']}: ERROR 404: Not Found.")
    if algorithm:
        found = hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()
        if found != wanted:
            raise TaskError(f"checksum mismatch: got '{found}' != expect '{wanted}'")
    volumes.put_file(node, args["storage"], args["content"], args["filename"], data)
    task["log"].append(f"download of '{args['url']}' to '{args['filename']}' finished")
    return None


@method(
    "GET",
    "/nodes/{node}/query-url-metadata",
    {"url": text(required=True, pattern=r"https?://.*"), "verify-certificates": flag()},
    may=everybody,
)
def _metadata(call: Call) -> Any:
    data = volumes.fetch(call.world, call["url"])
    if data is None:
        raise died("invalid server response: '404 Not Found'")
    return {"filename": call["url"].rpartition("/")[2], "size": len(data), "mimetype": "application/octet-stream"}


@method(
    "POST",
    "/nodes/{node}/storage/{storage}/upload",
    {
        "content": one_of("iso", "vztmpl", "import", required=True),
        "filename": text(required=True, longest=255),
        "tmpfilename": text(),
        "checksum": text(),
        "checksum-algorithm": one_of("md5", "sha1", "sha224", "sha256", "sha384", "sha512"),
    },
    may=needs("/storage/{storage}", "Datastore.AllocateTemplate"),
)
def _upload(call: Call) -> Any:
    check_name(call["content"], call["filename"])
    volumes.storage(call.node, call["storage"], content=call["content"])
    data = str(call.get("tmpfilename", "")).encode("latin-1")
    if algorithm := call.get("checksum-algorithm"):
        found = hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()
        if found != str(call.get("checksum", "")).lower():
            raise died(f"checksum mismatch: got '{found}' != expect '{call.get('checksum')}'")
    args = {"storage": call["storage"], "content": call["content"], "filename": call["filename"]}
    return tasks.start(call.node, "imgcopy", "", call.caller.name, args | {"blob": volumes.keep(call.world, data)})


@work("imgcopy")
def _copy(node: Node, task: Task, args: dict[str, Any]) -> float | None:
    data = (node.world.directory / "pve" / args["blob"]).read_bytes()
    volid = volumes.put_file(node, args["storage"], args["content"], args["filename"], data)
    task["log"].append(f"finished file import successfully: {volid}")
    return None


# templates ------------------------------------------------------------------------------------------------------------


@method("GET", "/nodes/{node}/aplinfo", may=everybody)
def _templates(call: Call) -> Any:
    return templates.offered(call.node)


@method(
    "POST",
    "/nodes/{node}/aplinfo",
    {"storage": form("pve-storage-id", required=True), "template": text(required=True, longest=255)},
    may=needs("/storage/{storage}", "Datastore.AllocateTemplate"),
)
def fetch_template(call: Call) -> Any:
    if call["template"] not in {row["template"] for row in templates.offered(call.node)}:
        raise wrong(template=f"no such template - '{call['template']}'")
    volumes.storage(call.node, call["storage"], content="vztmpl")
    args = {"storage": call["storage"], "template": call["template"]}
    return tasks.start(call.node, "download", "", call.caller.name, args | {"url": "", "filename": call["template"]})


def _fetch_template(node: Node, task: Task, args: dict[str, Any]) -> float | None:
    """A template of Proxmox's own list needs no address."""
    volid = f"{args['storage']}:vztmpl/{args['template']}"
    volumes.table(node, args["storage"])[volid] = templates.volume(node, args["template"])
    task["log"].append(f"downloading {args['template']}: download finished")
    return None
