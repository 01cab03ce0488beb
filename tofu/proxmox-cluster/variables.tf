variable "deployment" {
  description = "The name of the deployment. Guests are found again by a tag with it."
  type        = string
}

variable "nodes" {
  description = "The nodes of the cluster, in the order of the plan, as Proxmox calls them."
  type        = list(object({ name = string, address = string }))

  validation {
    condition     = length(var.nodes) > 0
    error_message = "A cluster has a node at least."
  }
}

variable "role" {
  description = "The role of the pipeline."
  type        = string
  default     = "OcifreePipeline"
}

variable "user" {
  description = "Who the pipeline is. Without a password, so that nobody logs in as it."
  type        = string
  default     = "ocifree@pve"
}

variable "token" {
  description = "The name of the token that the pipeline shows."
  type        = string
  default     = "pipeline"
}

variable "privileges" {
  description = "What the role may do, and nothing else."
  type        = set(string)
  default = [
    "Datastore.Allocate",
    "Datastore.AllocateSpace",
    "Datastore.AllocateTemplate",
    "Datastore.Audit",
    "SDN.Use",
    "Sys.AccessNetwork",
    "Sys.Audit",
    "Sys.Modify",
    "VM.Allocate",
    "VM.Audit",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Cloudinit",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.GuestAgent.Audit",
    "VM.Migrate",
    "VM.PowerMgmt",
  ]
}

variable "pool" {
  description = "A pool with all guests in it, to give somebody rights on them at once. Null: there is none."
  type        = string
  default     = null
}

variable "local" {
  description = "What the storage of each node takes: what Proxmox lets it take from the start, and what guests need."
  type        = set(string)
  default     = ["backup", "import", "iso", "rootdir", "snippets", "vztmpl"]
}

variable "ceph" {
  description = "The pool for the disks of guests, on a Ceph that stands. Null: there is none."
  type = object({
    pool     = optional(string, "vm-storage")
    size     = optional(number, 2)
    min_size = optional(number, 2)
  })
  default = {}
}

variable "guests" {
  description = "The range of the guests. Each node has a /24 of it, and its first address is the way out."
  type        = string
  default     = "10.20.0.0/16"
}

variable "bridge" {
  description = "The bridge that guests are on."
  type        = string
  default     = "vmbr0"
}

variable "template" {
  description = "What the containers for the tailnet are made of, such as local:vztmpl/debian-13-standard_13.1-2_arm64.tar.zst, which each node has. Null: there are none."
  type        = string
  default     = null
}

variable "talos" {
  description = "A Talos guest on each node, copied from the guest of this number on the first one. Null: there are none."
  type = object({
    template  = number
    cores     = number
    memory_gb = number
    disk_gb   = number
  })
  default = null
}

variable "architecture" {
  description = "Of the nodes, and so of their containers."
  type        = string
  default     = "arm64"
}

variable "sdn" {
  description = "A network for guests that Proxmox itself makes, a VXLAN between all nodes. Null: there is none."
  type = object({
    zone = optional(string, "ocifree")
    vnet = optional(string, "vxguests")
    vni  = optional(number, 4000)
    mtu  = optional(number, 8950)
  })
  default = null
}

variable "standing" {
  description = "What is there already and taken over. Proxmox brings `local`; `access`, `ceph` and the containers, by their nodes and numbers, are there when the pipeline made them."
  type = object({
    local      = optional(bool, true)
    access     = optional(bool, false)
    ceph       = optional(bool, false)
    containers = optional(map(number), {})
  })
  default = {}
}
