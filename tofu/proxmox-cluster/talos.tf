# What talos/vm_<n> makes, as copies of a guest: the provider cannot turn KVM off, and a copy has it off where its source has.

resource "proxmox_virtual_environment_vm" "talos" {
  for_each = var.talos == null ? {} : { for number, node in var.nodes : "${var.deployment}-talos-${number + 1}" => number }

  name            = each.key
  node_name       = var.nodes[each.value].name
  pool_id         = one(proxmox_virtual_environment_pool.guests[*].pool_id)
  tags            = ["ocifree", "ocifree-${var.deployment}"]
  machine         = var.architecture == "arm64" ? "virt" : "q35"
  bios            = "ovmf"
  scsi_hardware   = "virtio-scsi-pci"
  boot_order      = ["scsi0"]
  on_boot         = true
  stop_on_destroy = true

  clone {
    vm_id     = var.talos.template
    node_name = var.nodes[0].name
  }

  cpu {
    type  = var.architecture == "arm64" ? "max" : "x86-64-v2-AES"
    cores = var.talos.cores
  }

  memory {
    dedicated = var.talos.memory_gb * 1024
    floating  = 0
  }

  disk {
    interface    = "scsi0"
    datastore_id = one(proxmox_ceph_pool.guests[*].name)
    size         = var.talos.disk_gb
    discard      = "on"
  }

  network_device {
    bridge = var.bridge
    mtu    = 1
  }

  initialization {
    datastore_id = one(proxmox_ceph_pool.guests[*].name)
    interface    = "scsi1"
    type         = "nocloud"

    dns {
      servers = ["1.1.1.1", "8.8.8.8"]
    }

    ip_config {
      ipv4 {
        address = "${cidrhost(var.guests, each.value * 256 + 10)}/${split("/", var.guests)[1]}"
        gateway = cidrhost(var.guests, each.value * 256 + 1)
      }
    }
  }

  operating_system {
    type = "l26"
  }

  serial_device {}

  vga {
    type = "serial0"
  }

  lifecycle {
    # Another template is no reason to make a machine anew.
    ignore_changes = [clone]
  }
}

output "talos" {
  description = "Where the Talos guests answer, for `nodes` of tofu/talos."
  value       = { for name, one in proxmox_virtual_environment_vm.talos : name => split("/", one.initialization[0].ip_config[0].ipv4[0].address)[0] }
}
