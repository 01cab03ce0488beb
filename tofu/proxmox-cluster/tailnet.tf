# What proxmox/tailscale_lxc_<n> makes over the API, and the device that only root may give. What runs inside has no API.

locals {
  containers = var.template == null ? {} : { for number, node in var.nodes : node.name => number }
}

resource "proxmox_virtual_environment_container" "tailnet" {
  for_each = local.containers

  node_name     = each.key
  pool_id       = one(proxmox_virtual_environment_pool.guests[*].pool_id)
  unprivileged  = true
  start_on_boot = true
  tags          = ["ocifree", "ocifree-${var.deployment}"]

  operating_system {
    template_file_id = var.template
    type             = "debian"
  }

  cpu {
    architecture = var.architecture
    cores        = 1
  }

  memory {
    dedicated = 256
    swap      = 0
  }

  disk {
    datastore_id = proxmox_storage_directory.local.id
    size         = 2
  }

  features {
    nesting = true
  }

  # As Proxmox makes it anyway; unsaid, it would be a change to a container that is taken over.
  console {
    type = "tty"
  }

  device_passthrough {
    path = "/dev/net/tun"
  }

  network_interface {
    name   = "eth0"
    bridge = var.bridge
  }

  initialization {
    hostname = "${each.key}-tailnet"

    dns {
      servers = ["1.1.1.1", "8.8.8.8"]
    }

    ip_config {
      ipv4 {
        address = "${cidrhost(var.guests, each.value * 256 + 2)}/${split("/", var.guests)[1]}"
        gateway = cidrhost(var.guests, each.value * 256 + 1)
      }
    }
  }

  lifecycle {
    # Another template is no reason to make a container anew, and one that is taken over does not tell its own.
    ignore_changes = [operating_system]
  }
}
