# The virtual machine that images are made in. Both builds use it; what differs comes in by variables.

locals {
  is_arm     = var.architecture == "arm64"
  is_slow    = var.accelerator == "tcg"
  build_user = "builder"

  is_installed = var.source_kind == "installer"
  ssh_timeout  = local.is_installed ? (local.is_slow ? "7h" : "1h") : (local.is_slow ? "60m" : "10m")

  # `max` is all that TCG can play. On arm64 it would sign every pointer in software, which takes half of the time.
  emulated_cpu = local.is_arm ? "max,pauth-impdef=on" : "max"

  user_data = <<-EOT
    #cloud-config
    hostname: ocifree-build
    manage_etc_hosts: false
    ssh_pwauth: false
    users:
      - name: ${local.build_user}
        lock_passwd: true
        shell: /bin/bash
        sudo: "ALL=(ALL) NOPASSWD:ALL"
        ssh_authorized_keys: ["${var.ssh_public_key}"]
  EOT

  environment = [
    "OCIFREE_ARCHITECTURE=${var.architecture}",
    "OCIFREE_DEBIAN=${var.debian}",
    "OCIFREE_TAILSCALE_REPOSITORY=${var.tailscale_repository}",
    "OCIFREE_TAILSCALE_FINGERPRINT=${var.tailscale_fingerprint}",
    "OCIFREE_PROXMOX_REPOSITORY=${var.proxmox_repository}",
    "OCIFREE_PROXMOX_KEYRING=${var.proxmox_keyring}",
    "OCIFREE_PROXMOX_KEYRING_SHA256=${var.proxmox_keyring_sha256}",
    "OCIFREE_PROXMOX_KERNEL=${var.proxmox_kernel}",
    "OCIFREE_CEPH_RELEASE=${var.ceph_release}",
  ]
}

source "qemu" "guest" {
  iso_url          = var.source_url
  iso_checksum     = var.source_checksum
  disk_image       = !local.is_installed
  format           = "qcow2"
  vm_name          = "image.qcow2"
  output_directory = "${var.work_directory}/output"

  qemu_binary  = var.qemu_binary
  accelerator  = var.accelerator
  machine_type = local.is_arm ? "virt" : "q35"
  cpu_model    = local.is_slow ? local.emulated_cpu : "host"
  cpus         = var.cpus
  memory       = var.memory_mb
  headless     = true

  efi_boot          = true
  efi_firmware_code = var.firmware_code
  efi_firmware_vars = var.firmware_vars
  efi_drop_efivars  = true

  # As on Oracle: a paravirtualised SCSI disk and card.
  disk_interface     = "virtio-scsi"
  net_device         = "virtio-net"
  disk_size          = "${var.disk_gb}G"
  disk_discard       = "unmap"
  disk_detect_zeroes = "unmap"
  disk_compression   = true

  # NoCloud: a disk of this label tells the first boot who may log in.
  # The installer looks for its disc among the drives that are discs.
  cdrom_interface = local.is_installed ? "ide" : "virtio"
  cd_label        = "cidata"
  cd_content = {
    "meta-data" = "instance-id: ocifree-build\n"
    "user-data" = local.user_data
  }

  # What the guest says while it starts; the first thing to read when it does not.
  qemuargs = [["-serial", "file:${var.work_directory}/console.log"]]

  ssh_username           = local.build_user
  ssh_private_key_file   = var.ssh_private_key_file
  ssh_timeout            = local.ssh_timeout
  ssh_handshake_attempts = local.is_slow ? 10000 : 1000
  boot_wait              = "1s"

  # The user goes with the machine. What was started by sudo goes on without it.
  shutdown_command = "sudo sh -c 'rm -rf /tmp/ocifree /etc/sudoers.d/90-cloud-init-users; userdel --force --remove ${local.build_user}; sync; systemctl poweroff'"
  shutdown_timeout = local.is_slow ? "30m" : "5m"
}
