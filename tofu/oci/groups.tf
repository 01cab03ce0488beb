locals {
  # The key says what the rule does, so that a plan can be read: "inside: tcp 22 from group/ssh".
  rules = merge([
    for group, members in var.spec.groups : {
      for key, rule in members.rules : "${group}: ${key}" => merge(rule, { group = group })
    }
  ]...)
}

resource "oci_core_network_security_group" "this" {
  for_each = var.spec.groups

  compartment_id = local.compartment
  vcn_id         = oci_core_vcn.this.id
  display_name   = each.value.name
  freeform_tags  = each.value.tags

  lifecycle {
    prevent_destroy = true
  }
}

resource "oci_core_network_security_group_security_rule" "this" {
  for_each = local.rules

  network_security_group_id = oci_core_network_security_group.this[each.value.group].id
  direction                 = "INGRESS"
  protocol                  = local.protocols[each.value.protocol]
  source_type               = each.value.peer_group == null ? "CIDR_BLOCK" : "NETWORK_SECURITY_GROUP"
  source                    = each.value.peer_group == null ? each.value.peer : oci_core_network_security_group.this[each.value.peer_group].id
  stateless                 = false
  description               = each.value.reason

  dynamic "icmp_options" {
    for_each = each.value.protocol == "icmp" && each.value.first != null ? [each.value] : []

    content {
      type = icmp_options.value.first
      code = icmp_options.value.last
    }
  }

  dynamic "tcp_options" {
    for_each = each.value.protocol == "tcp" && each.value.first != null ? [each.value] : []

    content {
      destination_port_range {
        min = tcp_options.value.first
        max = tcp_options.value.last
      }
    }
  }

  dynamic "udp_options" {
    for_each = each.value.protocol == "udp" && each.value.first != null ? [each.value] : []

    content {
      destination_port_range {
        min = udp_options.value.first
        max = udp_options.value.last
      }
    }
  }
}
