"""What can be upgraded by itself. Apart, so that the list of verbs loads without what they do."""

from __future__ import annotations

from enum import StrEnum


class Layer(StrEnum):
    TALOS = "talos"
    KUBERNETES = "kubernetes"
    PROXMOX = "proxmox"
