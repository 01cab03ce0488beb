"""The machines behind the instances: powered by Oracle's lifecycle, reached over real sockets.

    machines.boot(world, instance)                  # the instance has reached RUNNING: power, firmware, guest
    machines.halt(world, instance)                  # it is stopped, reset or terminated
    machines.find(world, "203.0.113.7", 22)         # who owns that address; None: nobody does
    machines.address_of(world, "203.0.113.7", 22)   # (loopback host, port) to connect to; None: nothing answers
    await machines.close(world)                     # end all listeners and connections

Power and phase of a machine are state in the world (``instance.hidden["machine"]``), and what a guest has written is
state of its boot volume (``volume.hidden["guest"]``), so both survive a snapshot. Sockets are opened when somebody asks
for an address. A kind of guest is one ``Backend`` (see ``backend``).
"""

from ocifree_pipeline.sandbox.machines import linux as _linux  # its transitions must be known to every world
from ocifree_pipeline.sandbox.machines.power import boot, halt
from ocifree_pipeline.sandbox.machines.reach import Reached, address_of, close, find
from ocifree_pipeline.sandbox.proxmox import joining as _joining  # the same, and where guests are found
from ocifree_pipeline.sandbox.proxmox import life as _life

__all__ = ["Reached", "address_of", "boot", "close", "find", "halt"]

del _joining, _life, _linux
