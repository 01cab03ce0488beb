terraform {
  required_version = ">= 1.8.0"

  required_providers {
    oci = {
      source  = "oracle/oci"
      version = "~> 8.0"
    }
  }

  # Neither a backend nor encryption stands here. Whoever runs the module says where its state lives, and hands the
  # passphrase over in TF_ENCRYPTION, so that it never comes near a file of the module.
}

# Keys are found as Oracle's own tools find them: a profile of ~/.oci/config, or OCI_* in the environment. A proxy comes
# by HTTPS_PROXY, its authority by OCI_custom_cert_location.
provider "oci" {
  region              = var.spec.region
  config_file_profile = var.config_file_profile
}
