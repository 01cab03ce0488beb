"""Ceph as Proxmox VE runs it: monitors, managers and OSDs on nodes, and a health that follows from what runs."""
