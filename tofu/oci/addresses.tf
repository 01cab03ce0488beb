# An address that is given back never returns.
resource "oci_core_public_ip" "reserved" {
  for_each = var.spec.reserved_ips

  compartment_id = local.compartment
  display_name   = each.value.name
  lifetime       = "RESERVED"
  freeform_tags  = each.value.tags

  lifecycle {
    prevent_destroy = true
    ignore_changes  = [private_ip_id] # whose it is at the moment is the business of the machines
  }
}

resource "oci_dns_zone" "this" {
  count = var.spec.dns_zone == null ? 0 : 1

  compartment_id = local.compartment
  name           = var.spec.dns_zone.name
  zone_type      = var.spec.dns_zone.zone_type
  freeform_tags  = var.spec.dns_zone.tags

  lifecycle {
    prevent_destroy = true
  }
}

resource "oci_dns_rrset" "this" {
  for_each = var.spec.dns_zone == null ? {} : var.spec.dns_zone.records

  zone_name_or_id = one(oci_dns_zone.this[*].id)
  domain          = each.value.domain
  rtype           = "A"

  items {
    domain = each.value.domain
    rtype  = "A"
    rdata  = oci_core_public_ip.reserved[each.key].ip_address
    ttl    = each.value.ttl
  }
}
