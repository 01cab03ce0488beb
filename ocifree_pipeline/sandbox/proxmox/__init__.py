"""Proxmox VE 9.2 on the machines whose image has it: nodes, clusters of nodes, their API and their commands.

What a node keeps for itself is state of its boot volume (``guest["pve"]``); what pmxcfs shares (all of /etc/pve) is a
*store* in the world's facts. A node that joins a cluster leaves its own store for that of the cluster. Methods of the
API are functions in a table (``methods``), and the commands are made of the same functions. What nobody plays is
answered with 501, or not found (127).
"""

from ocifree_pipeline.sandbox import machines as _machines  # whoever comes here first must find them whole

del _machines
