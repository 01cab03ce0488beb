# Debian, hardened: amd64 for the bastion, arm64 for A1 and as the ground that Proxmox is built on.

build {
  name    = "base-hardened"
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
      "sh /tmp/ocifree/run.sh release updates ssh nftables resolver upgrades time cloud-init initramfs loader kernel-settings journal tailscale console packages",
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
