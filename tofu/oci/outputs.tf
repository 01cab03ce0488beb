output "compartment" {
  description = "The compartment that everything is in. It is not ours if somebody had made one of that name."
  value = {
    compartment = {
      id         = local.compartment
      name       = var.spec.compartment.name
      is_ours    = local.is_compartment_ours
      attributes = {}
      tags       = local.is_compartment_ours ? one(oci_identity_compartment.this[*].freeform_tags) : {}
    }
  }
}

output "network" {
  description = "VCN, gateways, routes, subnets and security groups, by their role."
  value = merge(
    {
      vcn = {
        id         = oci_core_vcn.this.id
        name       = oci_core_vcn.this.display_name
        attributes = { default_security_list_id = oci_core_vcn.this.default_security_list_id }
        tags       = oci_core_vcn.this.freeform_tags
      }
      security_list = {
        id         = oci_core_default_security_list.every_machine.id
        name       = oci_core_default_security_list.every_machine.display_name
        attributes = {}
        tags       = oci_core_default_security_list.every_machine.freeform_tags
      }
      internet_gateway = {
        id         = oci_core_internet_gateway.this.id
        name       = oci_core_internet_gateway.this.display_name
        attributes = {}
        tags       = oci_core_internet_gateway.this.freeform_tags
      }
    },
    { for one in oci_core_nat_gateway.this : "nat_gateway" => { id = one.id, name = one.display_name, attributes = {}, tags = one.freeform_tags } },
    { for key, one in oci_core_route_table.this : "route_table/${key}" => { id = one.id, name = one.display_name, attributes = {}, tags = one.freeform_tags } },
    { for key, one in oci_core_subnet.this : "subnet/${key}" => { id = one.id, name = one.display_name, attributes = {}, tags = one.freeform_tags } },
    { for key, one in oci_core_network_security_group.this : "group/${key}" => { id = one.id, name = one.display_name, attributes = {}, tags = one.freeform_tags } },
  )
}

output "reserved_ips" {
  description = "The reserved addresses, by their role, and what each is assigned to at the moment."
  value = {
    for key, one in oci_core_public_ip.reserved : "reserved_ip/${key}" => {
      id         = one.id
      name       = one.display_name
      attributes = { address = one.ip_address, assigned_to = one.assigned_entity_id }
      tags       = one.freeform_tags
    }
  }
}

output "image_bucket" {
  description = "The bucket of images and backups. Its name is what it is known by."
  value = {
    bucket = {
      id         = oci_objectstorage_bucket.images.name
      name       = oci_objectstorage_bucket.images.name
      attributes = { namespace = oci_objectstorage_bucket.images.namespace }
      tags       = oci_objectstorage_bucket.images.freeform_tags
    }
  }
}

output "dns_zone" {
  description = "The zone with its name servers, which have to be entered at the registrar, and its records. Empty without one."
  value = merge(
    {
      for one in oci_dns_zone.this : "dns_zone" => {
        id         = one.id
        name       = one.name
        attributes = { nameservers = one.nameservers[*].hostname }
        tags       = one.freeform_tags
      }
    },
    {
      for key, one in oci_dns_rrset.this : "dns_record/${key}" => {
        id         = "${one.zone_name_or_id}/${one.domain}"
        name       = one.domain
        attributes = {}
        values     = { zone_id = one.zone_name_or_id, address = oci_core_public_ip.reserved[key].ip_address }
      }
    },
  )
}
