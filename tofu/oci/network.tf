locals {
  protocols = { icmp = "1", tcp = "6", udp = "17", all = "all" }

  ways_out = {
    internet_gateway = oci_core_internet_gateway.this.id
    nat_gateway      = one(oci_core_nat_gateway.this[*].id)
  }
}

resource "oci_core_vcn" "this" {
  compartment_id = local.compartment
  display_name   = var.spec.vcn.name
  cidr_blocks    = var.spec.vcn.cidr_blocks
  dns_label      = var.spec.vcn.dns_label
  freeform_tags  = var.spec.vcn.tags

  lifecycle {
    prevent_destroy = true
  }
}

# Every network is born with this list, open to SSH from anywhere. It is taken over, not added to.
resource "oci_core_default_security_list" "every_machine" {
  manage_default_resource_id = oci_core_vcn.this.default_security_list_id
  compartment_id             = local.compartment
  display_name               = var.spec.security_list.name
  freeform_tags              = var.spec.security_list.tags

  dynamic "ingress_security_rules" {
    for_each = var.spec.security_list.ingress
    iterator = rule

    content {
      protocol    = local.protocols[rule.value.protocol]
      source      = rule.value.peer
      source_type = "CIDR_BLOCK"
      stateless   = false
      description = rule.value.reason

      dynamic "icmp_options" {
        for_each = rule.value.protocol == "icmp" && rule.value.first != null ? [rule.value] : []

        content {
          type = icmp_options.value.first
          code = icmp_options.value.last
        }
      }

      dynamic "tcp_options" {
        for_each = rule.value.protocol == "tcp" && rule.value.first != null ? [rule.value] : []

        content {
          min = tcp_options.value.first
          max = tcp_options.value.last
        }
      }

      dynamic "udp_options" {
        for_each = rule.value.protocol == "udp" && rule.value.first != null ? [rule.value] : []

        content {
          min = udp_options.value.first
          max = udp_options.value.last
        }
      }
    }
  }

  dynamic "egress_security_rules" {
    for_each = var.spec.security_list.egress
    iterator = rule

    content {
      protocol         = local.protocols[rule.value.protocol]
      destination      = rule.value.peer
      destination_type = "CIDR_BLOCK"
      stateless        = false
      description      = rule.value.reason
    }
  }
}

resource "oci_core_internet_gateway" "this" {
  compartment_id = local.compartment
  vcn_id         = oci_core_vcn.this.id
  display_name   = var.spec.internet_gateway.name
  enabled        = true
  freeform_tags  = var.spec.internet_gateway.tags
}

resource "oci_core_nat_gateway" "this" {
  count = var.spec.nat_gateway == null ? 0 : 1

  compartment_id = local.compartment
  vcn_id         = oci_core_vcn.this.id
  display_name   = var.spec.nat_gateway.name
  block_traffic  = false
  freeform_tags  = var.spec.nat_gateway.tags
}

resource "oci_core_route_table" "this" {
  for_each = var.spec.route_tables

  compartment_id = local.compartment
  vcn_id         = oci_core_vcn.this.id
  display_name   = each.value.name
  freeform_tags  = each.value.tags

  dynamic "route_rules" {
    for_each = each.value.routes
    iterator = route

    content {
      destination       = route.value.destination
      destination_type  = "CIDR_BLOCK"
      network_entity_id = local.ways_out[route.value.way_out]
      description       = route.value.reason
    }
  }
}

resource "oci_core_subnet" "this" {
  for_each = var.spec.subnets

  compartment_id             = local.compartment
  vcn_id                     = oci_core_vcn.this.id
  display_name               = each.value.name
  cidr_block                 = each.value.cidr_block
  dns_label                  = each.value.dns_label
  prohibit_public_ip_on_vnic = each.value.prohibit_public_ip
  route_table_id             = oci_core_route_table.this[each.key].id
  security_list_ids          = [oci_core_default_security_list.every_machine.id]
  freeform_tags              = each.value.tags

  lifecycle {
    prevent_destroy = true
  }
}
