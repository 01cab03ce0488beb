"""``pvesh``: the API as root, without a ticket."""

from ocifree_pipeline.sandbox.machines.session import Result, Steps, Who, Words
from ocifree_pipeline.sandbox.proxmox import console, methods
from ocifree_pipeline.sandbox.proxmox.errors import ApiError

VERBS = {"get": "GET", "create": "POST", "set": "PUT", "delete": "DELETE"}
OWN = ("output-format", "human-readable", "noborder", "noheader", "quiet", "noproxy")


def pvesh(who: Who, words: Words) -> Steps:
    if (no := console.refusal(who)) is not None:
        yield no
        return no.code
    node = console.node_of(who)
    if words[:1] == ("ls",):
        prefix = "/" + (words[1].strip("/") if len(words) > 1 else "")
        rest = {
            one.path.removeprefix(prefix).strip("/").split("/")[0]
            for one in methods.load()
            if one.path.startswith(prefix)
        }
        yield Result(0, "".join(f"Dr---        {name}\n" for name in sorted(rest - {""})))
        return 0
    if len(words) < 2 or words[0] not in VERBS:
        yield Result(console.FAILED, err="ERROR: unknown command\nUSAGE: pvesh <COMMAND> <api_path> [OPTIONS]\n")
        return console.FAILED
    plain, given = console.options(words[1:], frozenset(OWN[1:]))
    form = str(given.get("output-format", "text"))
    quiet = "quiet" in given
    given = {name: value for name, value in given.items() if name not in OWN}
    try:
        answer = console.invoke(node, VERBS[words[0]], plain[0], given)
    except ApiError as error:
        text = error.text if error.status != 501 else f"No '{words[0]}' handler defined for '{plain[0]}'\n"
        yield Result(console.FAILED, err=text)
        return console.FAILED
    if isinstance(answer, methods.Page):
        answer = answer.rows
    if console.is_upid(answer) and words[0] != "get":
        code = yield from console.to_the_end(node, answer)
        if not quiet:
            yield Result(code, console.shown(answer, form))
        return code
    yield Result(0, "" if quiet else console.shown(answer, form))
    return 0
