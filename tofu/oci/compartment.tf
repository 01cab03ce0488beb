# A compartment of that name which somebody else made is used as it is and never touched. One that carries our tags is
# ours, whoever made it before: an earlier run that was cut off, or the native engine.
data "oci_identity_compartments" "of_this_name" {
  compartment_id = var.tenancy
  name           = var.spec.compartment.name
  state          = "ACTIVE"
}

locals {
  foreign_compartments = [
    for one in data.oci_identity_compartments.of_this_name.compartments : one.id
    if anytrue([for key, value in var.spec.compartment.tags : lookup(one.freeform_tags, key, "") != value])
  ]

  is_compartment_ours = length(local.foreign_compartments) == 0
  compartment         = local.is_compartment_ours ? one(oci_identity_compartment.this[*].id) : local.foreign_compartments[0]
}

resource "oci_identity_compartment" "this" {
  count = local.is_compartment_ours ? 1 : 0

  compartment_id = var.tenancy
  name           = var.spec.compartment.name
  description    = var.spec.compartment.description
  freeform_tags  = var.spec.compartment.tags

  lifecycle {
    prevent_destroy = true
    ignore_changes  = [description] # whoever writes a better one may keep it
  }
}
