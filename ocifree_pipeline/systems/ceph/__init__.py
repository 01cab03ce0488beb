"""Ceph on Proxmox nodes, over the commands `pveceph`, `ceph` and `ceph-volume` that run there as root."""
