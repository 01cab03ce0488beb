"""Talos nodes that speak: the API at port 50000, etcd among the control planes, Kubernetes when etcd has its quorum.

What a node has written is state of its disk (``computer.guest["talos"]``), and who is a member of which etcd is state
of the world; everything else (leader, quorum, health, which ports listen) follows from these and from who is up.
"""
