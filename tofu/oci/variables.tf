variable "tenancy" {
  description = "OCID of the tenancy. The compartment is made in its root, and its namespace holds the bucket."
  type        = string

  validation {
    condition     = startswith(var.tenancy, "ocid1.tenancy.")
    error_message = "The tenancy has to be an OCID that begins with ocid1.tenancy."
  }
}

variable "config_file_profile" {
  description = "Profile of ~/.oci/config that holds the key. Left out: OCI_* in the environment, or DEFAULT."
  type        = string
  default     = null

  validation {
    condition     = var.config_file_profile == null ? true : var.config_file_profile != ""
    error_message = "Leave the profile out instead of writing an empty one."
  }
}

variable "spec" {
  description = "All that is to stand, as `ocifree` derives it from a declaration: one JSON file, the same for both engines. Every name and every tag is in it."

  type = object({
    deployment = string
    region     = string

    compartment = object({
      name        = string
      description = string
      tags        = map(string)
    })

    vcn = object({
      name        = string
      cidr_blocks = list(string)
      dns_label   = string
      tags        = map(string)
    })

    security_list = object({
      name    = string
      tags    = map(string)
      ingress = list(object({ protocol = string, peer = string, first = optional(number), last = optional(number), reason = string }))
      egress  = list(object({ protocol = string, peer = string, reason = string }))
    })

    internet_gateway = object({
      name = string
      tags = map(string)
    })

    nat_gateway = optional(object({
      name = string
      tags = map(string)
    }))

    route_tables = map(object({
      name   = string
      tags   = map(string)
      routes = list(object({ destination = string, way_out = string, reason = string }))
    }))

    subnets = map(object({
      name               = string
      cidr_block         = string
      dns_label          = string
      prohibit_public_ip = bool
      tags               = map(string)
    }))

    groups = map(object({
      name = string
      tags = map(string)
      rules = map(object({
        protocol   = string
        peer       = optional(string)
        peer_group = optional(string)
        first      = optional(number)
        last       = optional(number)
        reason     = string
      }))
    }))

    reserved_ips = map(object({
      name = string
      tags = map(string)
    }))

    bucket = object({
      name               = string
      storage_tier       = string
      public_access_type = string
      versioning         = string
      auto_tiering       = string
      tags               = map(string)
    })

    dns_zone = optional(object({
      name      = string
      zone_type = string
      tags      = map(string)
      records   = map(object({ domain = string, ttl = number }))
    }))
  })

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*$", var.spec.deployment))
    error_message = "The deployment has to be small letters, digits and hyphens, a letter first."
  }

  validation {
    condition     = can(regex("^[a-z]+(-[a-z]+)+-[0-9]+$", var.spec.region))
    error_message = "The region has to be an identifier such as uk-london-1."
  }

  validation {
    condition = alltrue([
      for cidr in concat(var.spec.vcn.cidr_blocks, [for subnet in var.spec.subnets : subnet.cidr_block]) :
      can(cidrhost(cidr, 0))
    ])
    error_message = "Every range of the network has to be in CIDR notation, such as 10.0.0.0/16."
  }

  validation {
    condition     = alltrue([for name in keys(var.spec.subnets) : contains(keys(var.spec.route_tables), name)])
    error_message = "Every subnet needs the route table of its own name."
  }

  validation {
    condition = alltrue(flatten([
      for table in var.spec.route_tables : [
        for route in table.routes :
        route.way_out == "internet_gateway" || (route.way_out == "nat_gateway" && var.spec.nat_gateway != null)
      ]
    ]))
    error_message = "A route can only leave through internet_gateway, or through nat_gateway if there is one."
  }

  validation {
    condition = alltrue(flatten([
      for group in var.spec.groups : [
        for rule in group.rules :
        (rule.peer == null) != (rule.peer_group == null) && contains(["icmp", "tcp", "udp", "all"], rule.protocol)
      ]
    ]))
    error_message = "A rule needs one peer, a range or a group, and a protocol of icmp, tcp, udp and all."
  }

  validation {
    condition = alltrue(flatten([
      for group in var.spec.groups : [
        for rule in group.rules :
        rule.peer != "0.0.0.0/0" ? true : (
          rule.protocol == "tcp" && rule.first == rule.last && try(contains([22, 80, 443], rule.first), false)
        )
      ]
    ]))
    error_message = "The outside reaches TCP ports 22, 80 and 443 and nothing else."
  }

  validation {
    condition = (
      var.spec.bucket.storage_tier == "Standard" &&
      var.spec.bucket.versioning == "Disabled" &&
      var.spec.bucket.auto_tiering == "Disabled" &&
      var.spec.bucket.public_access_type == "NoPublicAccess"
    )
    error_message = "The bucket has to be private, of the tier Standard, without versions: anything else is billed or open."
  }

  validation {
    condition = var.spec.dns_zone == null ? true : alltrue([
      for name in keys(var.spec.dns_zone.records) : contains(keys(var.spec.reserved_ips), name)
    ])
    error_message = "A record can only point at a reserved address of the same name."
  }
}
