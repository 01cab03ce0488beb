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
