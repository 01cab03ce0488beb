terraform {
  required_version = ">= 1.8.0"

  required_providers {
    proxmox = {
      source  = "bpg/proxmox"
      version = "~> 0.111"
    }
  }
}

# Where the cluster is and who speaks comes from the environment (PROXMOX_VE_ENDPOINT, PROXMOX_VE_USERNAME,
# PROXMOX_VE_PASSWORD), and so does whom to believe (SSL_CERT_FILE).
provider "proxmox" {}
