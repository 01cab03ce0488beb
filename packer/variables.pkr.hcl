# What is built, and from what. There is no default for the source: which mirror to use is not decided here.

variable "architecture" {
  description = "The machines that the image is for: amd64 or arm64."
  type        = string

  validation {
    condition     = contains(["amd64", "arm64"], var.architecture)
    error_message = "The architecture is amd64 or arm64."
  }
}

variable "debian" {
  description = "The Debian release that the source is said to be. The build stops if it is another."
  type        = number

  validation {
    condition     = contains([12, 13], var.debian)
    error_message = "The Debian release is 12 or 13."
  }
}

variable "source_url" {
  description = "The qcow2 to start from: Debian's generic cloud image, or for Proxmox the base image; an address or a path."
  type        = string

  validation {
    condition     = length(var.source_url) > 0
    error_message = "The source is named by an https address or by a path."
  }
}

variable "source_kind" {
  description = "What the source is: the image of a disk (image), or the disc of Debian's installer with answers (installer)."
  type        = string

  validation {
    condition     = contains(["image", "installer"], var.source_kind)
    error_message = "The source is an image or an installer."
  }
}

variable "source_checksum" {
  description = "Its checksum as sha256:HEX or sha512:HEX. There is no build without one."
  type        = string

  validation {
    condition     = can(regex("^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$", var.source_checksum))
    error_message = "The checksum is sha256: with 64 hexadecimal digits, or sha512: with 128."
  }
}

variable "disk_gb" {
  description = "The size of the disk that the guest sees, in GiB. The file is as large as what is on it."
  type        = number

  validation {
    condition     = var.disk_gb >= 3 && var.disk_gb <= 46
    error_message = "The disk has 3 to 46 GiB: Debian needs the one, Oracle's smallest boot volume allows the other."
  }
}

# Where the packages come from that are not Debian's.

variable "tailscale_repository" {
  description = "Tailscale's repository for Debian, without the name of a release."
  type        = string
  default     = "https://pkgs.tailscale.com/stable/debian"

  validation {
    condition     = can(regex("^(https|file)://[A-Za-z0-9./:_-]+$", var.tailscale_repository))
    error_message = "The repository is an https address."
  }
}

variable "tailscale_fingerprint" {
  description = "The fingerprint of the key that signs it."
  type        = string
  default     = "2596A99EAAB33821893C0A79458CA832957F5868"

  validation {
    condition     = can(regex("^[0-9A-F]{40}$", var.tailscale_fingerprint))
    error_message = "A fingerprint has 40 hexadecimal digits, in capitals."
  }
}

variable "proxmox_repository" {
  description = "Proxmox's repositories, without the name of a product. Packages are signed, so plain http will do."
  type        = string
  default     = "http://download.proxmox.com/debian"

  validation {
    condition     = can(regex("^(https?|file)://[A-Za-z0-9./:_-]+$", var.proxmox_repository))
    error_message = "The repository is an http or https address."
  }
}

variable "proxmox_keyring" {
  description = "The key that signs them."
  type        = string
  default     = "https://enterprise.proxmox.com/debian/proxmox-archive-keyring-trixie.gpg"

  validation {
    condition     = can(regex("^(https|file)://[A-Za-z0-9./:_-]+$", var.proxmox_keyring))
    error_message = "The key is fetched from an https address."
  }
}

variable "proxmox_keyring_sha256" {
  description = "The SHA-256 checksum of that key, as Proxmox's manual prints it."
  type        = string
  default     = "136673be77aba35dcce385b28737689ad64fd785a797e57897589aed08db6e45"

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.proxmox_keyring_sha256))
    error_message = "A SHA-256 checksum has 64 hexadecimal digits."
  }
}

variable "proxmox_kernel" {
  description = "Whose kernel Proxmox VE runs on: Debian's (distribution) or its own (proxmox)."
  type        = string
  default     = "distribution"

  validation {
    condition     = contains(["distribution", "proxmox"], var.proxmox_kernel)
    error_message = "The kernel is distribution or proxmox."
  }
}

variable "ceph_release" {
  description = "The release of Ceph. On arm64 there is tentacle and nothing older."
  type        = string
  default     = "tentacle"

  validation {
    condition     = can(regex("^[a-z]+$", var.ceph_release))
    error_message = "A release of Ceph is one word, such as tentacle."
  }
}

# How this computer builds.

variable "accelerator" {
  description = "What runs the guest: kvm or hvf on hardware of the same architecture, else tcg, which emulates it."
  type        = string

  validation {
    condition     = contains(["kvm", "hvf", "tcg"], var.accelerator)
    error_message = "The accelerator is kvm, hvf or tcg."
  }
}

variable "qemu_binary" {
  description = "The QEMU of that architecture: a name on the PATH, or a path."
  type        = string

  validation {
    condition     = can(regex("qemu-system-(x86_64|aarch64)$", var.qemu_binary))
    error_message = "The program is qemu-system-x86_64 or qemu-system-aarch64."
  }
}

variable "firmware_code" {
  description = "The UEFI firmware: OVMF for amd64, AAVMF for arm64."
  type        = string

  validation {
    condition     = length(var.firmware_code) > 0
    error_message = "The images start by UEFI only, so a build needs a firmware."
  }
}

variable "firmware_vars" {
  description = "The template of that firmware's variables. It is copied, never written to."
  type        = string

  validation {
    condition     = length(var.firmware_vars) > 0
    error_message = "A firmware needs the template of its variables."
  }
}

variable "cpus" {
  description = "How many processors the guest gets while it is built."
  type        = number
  default     = 2

  validation {
    condition     = var.cpus >= 1
    error_message = "A guest has at least one processor."
  }
}

variable "memory_mb" {
  description = "How much memory the guest gets while it is built, in MiB."
  type        = number
  default     = 2048

  validation {
    condition     = var.memory_mb >= 512
    error_message = "Debian needs at least 512 MiB."
  }
}

variable "work_directory" {
  description = "A folder of this build alone. The image comes to `output` in it, which does not exist before."
  type        = string

  validation {
    condition     = length(var.work_directory) > 0
    error_message = "The build needs a folder."
  }
}

variable "ssh_private_key_file" {
  description = "The key that the build logs in with. It is made for one build and leaves no trace in the image."
  type        = string

  validation {
    condition     = length(var.ssh_private_key_file) > 0
    error_message = "The build logs in with a key; there are no passwords."
  }
}

variable "ssh_public_key" {
  description = "Its public half, for the user that exists during the build."
  type        = string

  validation {
    condition     = can(regex("^ssh-ed25519 [A-Za-z0-9+/=]+( [A-Za-z0-9@._-]+)?$", var.ssh_public_key))
    error_message = "The key is an OpenSSH public key of type ssh-ed25519, on one line."
  }
}
