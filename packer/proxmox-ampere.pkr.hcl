# Proxmox VE and Ceph for A1, on the hardened base for arm64.

build {
  name    = "proxmox-ampere"
  sources = ["source.qemu.guest"]

  provisioner "shell" {
    inline = ["cloud-init status --wait >/dev/null || true", "mkdir -p /tmp/ocifree"]
  }

  provisioner "file" {
    source      = "${path.root}/scripts/"
    destination = "/tmp/ocifree/"
  }

  provisioner "shell" {
    environment_vars = local.environment
    execute_command  = "{{ .Vars }} sudo -E sh '{{ .Path }}'"
    inline = [
      "sh /tmp/ocifree/run.sh release updates proxmox-repositories proxmox proxmox-enterprise ceph proxmox-notice bridge root-size initramfs loader console packages",
    ]
  }

  provisioner "file" {
    direction   = "download"
    source      = "/tmp/ocifree-packages.tsv"
    destination = "${var.work_directory}/packages.tsv"
  }

  provisioner "shell" {
    execute_command = "{{ .Vars }} sudo -E sh '{{ .Path }}'"
    inline          = ["rm -f /tmp/ocifree-packages.tsv", "sh /tmp/ocifree/run.sh identity compact"]
  }
}
