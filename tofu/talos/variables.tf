variable "cluster" {
  description = "The name of the cluster."
  type        = string
}

variable "endpoint" {
  description = "Where nodes and clients reach the Kubernetes API, with scheme and port."
  type        = string

  validation {
    condition     = can(regex("^https://[^/]+:[0-9]+$", var.endpoint))
    error_message = "Write it with scheme and port, such as https://10.20.1.10:6443."
  }
}

variable "nodes" {
  description = "The machines that wait in maintenance mode, by host name. `dialled` is where their API answers from here, if elsewhere."
  type = map(object({
    address = string
    role    = string
    dialled = optional(string)
  }))

  validation {
    condition     = alltrue([for node in var.nodes : contains(["controlplane", "worker"], node.role)])
    error_message = "A node is a controlplane or a worker."
  }

  validation {
    condition     = contains([1, 3, 5], length([for node in var.nodes : node if node.role == "controlplane"]))
    error_message = "etcd wants one control plane, three, or five."
  }
}

variable "talos_version" {
  description = "Of the installer, and of the form of the configuration."
  type        = string
  default     = "1.13.9"
}

variable "kubernetes_version" {
  description = "One that this Talos carries."
  type        = string
  default     = "1.36.3"
}

variable "installer" {
  description = "What an upgrade installs, without its version: the composition of the image that the machines booted."
  type        = string
}

variable "pods" {
  description = "The range of the pods."
  type        = string
  default     = "10.244.0.0/16"
}

variable "services" {
  description = "The range of the services."
  type        = string
  default     = "10.96.0.0/12"
}

variable "patches" {
  description = "Patches for every node, as YAML. They come last."
  type        = list(string)
  default     = []
}
