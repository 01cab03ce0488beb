"""Whether a machine gets as far as its operating system, and what its serial console says when it does not.

Oracle reports RUNNING in all of these cases: it only knows that the virtual machine has power.
"""

from ocifree_pipeline.sandbox.machines.computer import Verdict
from ocifree_pipeline.sandbox.machines.machine import Machine

BOOT_ENTRY = 'Boot0001 "UEFI ORACLE BlockVolume " from PciRoot(0x0)/Pci(0x4,0x0)/Scsi(0x0,0x1)'
UEFI_FAILURE = (
    f"BdsDxe: loading {BOOT_ENTRY}",
    f"BdsDxe: failed to load {BOOT_ENTRY}: Not Found",
    "BdsDxe: No bootable option or device was found.",
    "BdsDxe: Press any key to enter the Boot Manager Menu.",
)
BIOS_FAILURE = (
    "SeaBIOS (version 1.16.0)",
    "Booting from Hard Disk...",
    "Boot failed: not a bootable disk",
    "",
    "No bootable device.",
)


def judge(machine: Machine) -> Verdict:
    """Try to start the boot disk with the firmware and the processor that the instance has."""
    if machine.volume is None:
        return _silent("the instance has no boot volume", BIOS_FAILURE)
    shape, disk = machine.shape, machine.disk
    firmware = machine.instance.body["launchOptions"]["firmware"]
    if disk["broken"]:
        failure = BIOS_FAILURE if firmware == "BIOS" else UEFI_FAILURE
        return _silent(f"the imported file is no valid {disk['format']} disk: {disk['broken']}", failure)
    if firmware not in shape.firmwares:
        return _silent(
            f"the image asks for {firmware} firmware, and {shape.name} has {' or '.join(sorted(shape.firmwares))}; "
            "import the image with launchMode CUSTOM and firmware UEFI_64, or give it a capability schema that says so"
        )
    if disk["opaque"]:
        return Verdict()
    if firmware == "BIOS":
        return Verdict() if disk["boot_code"] else _silent("its first sector holds no boot code", BIOS_FAILURE)
    if shape.architecture in disk["loaders"]:
        return Verdict()
    others = " and ".join(disk["loaders"])
    found = f"its EFI system partition has a loader for {others} only" if others else "it has no EFI fallback loader"
    name = "EFI/BOOT/BOOTAA64.EFI" if shape.architecture == "aarch64" else "EFI/BOOT/BOOTX64.EFI"
    return _silent(f"{found}; {shape.name} is {shape.architecture} and starts {name}", UEFI_FAILURE)


def _silent(reason: str, console: tuple[str, ...] = ()) -> Verdict:
    return Verdict(reason, (*console, f"[firmware] This machine stays silent: {reason}."))
