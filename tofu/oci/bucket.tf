data "oci_objectstorage_namespace" "of_the_tenancy" {
  compartment_id = var.tenancy
}

resource "oci_objectstorage_bucket" "images" {
  compartment_id = local.compartment
  namespace      = data.oci_objectstorage_namespace.of_the_tenancy.namespace
  name           = var.spec.bucket.name
  access_type    = var.spec.bucket.public_access_type
  storage_tier   = var.spec.bucket.storage_tier
  versioning     = var.spec.bucket.versioning
  auto_tiering   = var.spec.bucket.auto_tiering
  freeform_tags  = var.spec.bucket.tags

  lifecycle {
    prevent_destroy = true
  }
}
