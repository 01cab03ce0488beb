"""Core compute, console histories: what a machine has written to its serial console, captured at one moment."""

from ocifree_pipeline.sandbox.machines.machine import of_instance
from ocifree_pipeline.sandbox.oracle import compute_life, pages
from ocifree_pipeline.sandbox.oracle.compute_life import MODELS, service
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import World, transition

KIND = "consolehistory"
MODEL = f"{MODELS}.ConsoleHistory"
CAPTURE_SECONDS = 3
DEFAULT_LENGTH, LARGEST_LENGTH = 10 * 1024, 1024 * 1024
ONE = "/instanceConsoleHistories/{historyId}"


@service.post(
    "/instanceConsoleHistories",
    operation="CaptureConsoleHistory",
    body=f"{MODELS}.CaptureConsoleHistoryDetails",
    reply=MODEL,
)
def capture(call: Call) -> Reply:
    instance = call.related("instance", call.body["instanceId"])
    compute_life.check_name(call.body)
    defaults = {
        "displayName": compute_life.default_name(call.world, KIND),
        "availabilityDomain": instance.body["availabilityDomain"],
        "compartmentId": instance.body["compartmentId"],
        "lifecycleState": "REQUESTED",
    }
    history = call.world.add(KIND, defaults | call.body, region=call.region, hidden={"content": ""})
    call.world.clock.later(CAPTURE_SECONDS, "console.capture", ocid=history.ocid)
    return Reply.of(history)


@transition("console.capture")
def _capture(world: World, ocid: str) -> None:
    history = world.get(KIND, ocid)
    if history is None:
        return
    if history.state == "REQUESTED":
        world.change(history, lifecycleState="GETTING-HISTORY")
        world.clock.later(CAPTURE_SECONDS, "console.capture", ocid=ocid)
        return
    instance = world.get("instance", history.body["instanceId"])
    if instance is None or instance.gone:
        world.change(history, lifecycleState="FAILED")
        return
    history.hidden["content"] = of_instance(world, instance).state["console"]
    world.change(history, lifecycleState="SUCCEEDED")


@service.get(ONE, operation="GetConsoleHistory", reply=MODEL)
def get_history(call: Call) -> Reply:
    return Reply.of(call.find(KIND, call.path["historyId"]))


@service.get("/instanceConsoleHistories", operation="ListConsoleHistories", reply=f"list[{MODEL}]")
def list_histories(call: Call) -> Reply:
    return pages.listing(call, KIND, filters=("availabilityDomain", "instanceId", "lifecycleState"))


@service.get(f"{ONE}/data", operation="GetConsoleHistoryContent")
def get_content(call: Call) -> Reply:
    history = call.find(KIND, call.path["historyId"])
    compute_life.need_state(history, ("SUCCEEDED",), "Console history")
    content = history.hidden["content"].encode()
    offset = call.query.number("offset", 0, 0, LARGEST_LENGTH)
    length = call.query.number("length", DEFAULT_LENGTH, 1, LARGEST_LENGTH)
    part = content[offset : offset + length]
    left = max(0, len(content) - offset - len(part))
    return Reply(part, headers={"content-type": "text/plain", "opc-bytes-remaining": str(left)})


@service.put(ONE, operation="UpdateConsoleHistory", body=f"{MODELS}.UpdateConsoleHistoryDetails", reply=MODEL)
def update_history(call: Call) -> Reply:
    history = call.edit(KIND, call.path["historyId"])
    compute_life.check_name(call.body)
    return Reply.of(call.world.change(history, **call.body))


@service.delete(ONE, operation="DeleteConsoleHistory")
def delete_history(call: Call) -> Reply:
    call.world.remove(call.edit(KIND, call.path["historyId"]))
    return Reply()
