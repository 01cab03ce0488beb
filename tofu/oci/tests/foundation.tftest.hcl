# The whole module against a provider that makes everything up. It needs the schema of oracle/oci, and no account:
#   tofu init && tofu test

mock_provider "oci" {
  mock_data "oci_objectstorage_namespace" {
    defaults = {
      namespace = "example"
    }
  }
}

variables {
  tenancy = "ocid1.tenancy.oc1..example"

  spec = {
    deployment = "lab"
    region     = "uk-london-1"

    compartment = {
      name        = "lab"
      description = "Everything of the deployment lab"
      tags        = { "ocifree-deployment" = "lab", "ocifree-key" = "compartment" }
    }

    vcn = {
      name        = "lab-vcn"
      cidr_blocks = ["10.0.0.0/16"]
      dns_label   = "lab"
      tags        = { "ocifree-deployment" = "lab", "ocifree-key" = "vcn" }
    }

    security_list = {
      name    = "lab-every-machine"
      tags    = { "ocifree-deployment" = "lab", "ocifree-key" = "security_list" }
      ingress = [{ protocol = "icmp", peer = "0.0.0.0/0", first = 3, last = 4, reason = "path MTU" }]
      egress  = [{ protocol = "all", peer = "0.0.0.0/0", reason = "the way out" }]
    }

    internet_gateway = {
      name = "lab-internet"
      tags = { "ocifree-deployment" = "lab", "ocifree-key" = "internet_gateway" }
    }

    nat_gateway = {
      name = "lab-nat"
      tags = { "ocifree-deployment" = "lab", "ocifree-key" = "nat_gateway" }
    }

    route_tables = {
      public = {
        name   = "lab-public"
        tags   = { "ocifree-deployment" = "lab", "ocifree-key" = "route_table/public" }
        routes = [{ destination = "0.0.0.0/0", way_out = "internet_gateway", reason = "the way out" }]
      }
      private = {
        name   = "lab-private"
        tags   = { "ocifree-deployment" = "lab", "ocifree-key" = "route_table/private" }
        routes = [{ destination = "0.0.0.0/0", way_out = "nat_gateway", reason = "the way out" }]
      }
    }

    subnets = {
      public = {
        name               = "lab-public"
        cidr_block         = "10.0.0.0/24"
        dns_label          = "public"
        prohibit_public_ip = false
        tags               = { "ocifree-deployment" = "lab", "ocifree-key" = "subnet/public" }
      }
      private = {
        name               = "lab-private"
        cidr_block         = "10.0.1.0/24"
        dns_label          = "private"
        prohibit_public_ip = true
        tags               = { "ocifree-deployment" = "lab", "ocifree-key" = "subnet/private" }
      }
    }

    groups = {
      ssh = {
        name = "lab-ssh"
        tags = { "ocifree-deployment" = "lab", "ocifree-key" = "group/ssh" }
        rules = {
          "tcp 22 from 0.0.0.0/0" = { protocol = "tcp", peer = "0.0.0.0/0", first = 22, last = 22, reason = "SSH" }
        }
      }
      inside = {
        name = "lab-inside"
        tags = { "ocifree-deployment" = "lab", "ocifree-key" = "group/inside" }
        rules = {
          "udp 8472 from group/inside"    = { protocol = "udp", peer_group = "inside", first = 8472, last = 8472, reason = "VXLAN" }
          "icmp type 8 from group/inside" = { protocol = "icmp", peer_group = "inside", first = 8, reason = "echo" }
        }
      }
    }

    reserved_ips = {
      ingress = {
        name = "lab-ingress"
        tags = { "ocifree-deployment" = "lab", "ocifree-key" = "reserved_ip/ingress" }
      }
    }

    bucket = {
      name               = "lab-images"
      storage_tier       = "Standard"
      public_access_type = "NoPublicAccess"
      versioning         = "Disabled"
      auto_tiering       = "Disabled"
      tags               = { "ocifree-deployment" = "lab", "ocifree-key" = "bucket" }
    }

    dns_zone = {
      name      = "example.org"
      zone_type = "PRIMARY"
      tags      = { "ocifree-deployment" = "lab", "ocifree-key" = "dns_zone" }
      records   = { ingress = { domain = "lab.example.org", ttl = 300 } }
    }
  }
}

run "a_compartment_of_somebody_else_is_used_and_not_made" {
  command = plan

  override_data {
    target = data.oci_identity_compartments.of_this_name
    values = {
      compartments = [{
        id             = "ocid1.compartment.oc1..theirs"
        compartment_id = "ocid1.tenancy.oc1..example"
        name           = "lab"
        description    = "somebody else's"
        state          = "ACTIVE"
        inactive_state = ""
        time_created   = "2026-01-01T00:00:00Z"
        is_accessible  = true
        enable_delete  = false
        defined_tags   = {}
        freeform_tags  = {}
      }]
    }
  }

  assert {
    condition     = length(oci_identity_compartment.this) == 0
    error_message = "A compartment without our tags is not ours to make or to change."
  }

  assert {
    condition     = oci_core_vcn.this.compartment_id == "ocid1.compartment.oc1..theirs"
    error_message = "The network belongs into the compartment that stands."
  }
}

# Only planned: what is never destroyed could not be cleared away after the test.
run "everything_is_made_in_a_compartment_of_its_own" {
  command = plan

  assert {
    condition     = length(oci_identity_compartment.this) == 1
    error_message = "No compartment of that name stands, so it has to be made."
  }

  assert {
    condition     = oci_core_subnet.this["private"].prohibit_public_ip_on_vnic && !oci_core_subnet.this["public"].prohibit_public_ip_on_vnic
    error_message = "Only the private subnet keeps public addresses out."
  }

  assert {
    condition     = oci_core_network_security_group_security_rule.this["inside: udp 8472 from group/inside"].source_type == "NETWORK_SECURITY_GROUP"
    error_message = "A rule of a group names the group, not a range."
  }

  assert {
    condition     = oci_core_network_security_group_security_rule.this["ssh: tcp 22 from 0.0.0.0/0"].tcp_options[0].destination_port_range[0].max == 22
    error_message = "The port is lost."
  }

  assert {
    condition     = oci_dns_rrset.this["ingress"].domain == "lab.example.org"
    error_message = "The record has the name that was declared."
  }

  assert {
    condition     = alltrue([for role in ["vcn", "security_list", "subnet/private", "group/ssh", "nat_gateway"] : contains(keys(output.network), role)])
    error_message = "The output has to name everything by its role."
  }
}

run "what_is_no_tenancy_is_refused" {
  command = plan

  variables {
    tenancy = "lab"
  }

  expect_failures = [var.tenancy]
}
