# The whole module against a provider that makes everything up. It needs the schema of bpg/proxmox, and no cluster:
#   tofu init && tofu test

mock_provider "proxmox" {}

variables {
  deployment = "lab"
  nodes      = [{ name = "lab-ampere-1", address = "10.0.1.11" }, { name = "lab-ampere-2", address = "10.0.1.12" }]

  # A provider that makes everything up takes nothing over.
  standing = { local = false }
}

run "only_what_every_cluster_has" {
  assert {
    condition     = proxmox_ceph_pool.guests[0].name == "vm-storage" && proxmox_ceph_pool.guests[0].min_size == 2
    error_message = "The pool is not the one that is declared."
  }

  assert {
    condition     = length(proxmox_virtual_environment_container.tailnet) == 0 && length(proxmox_sdn_vnet.guests) == 0
    error_message = "Nobody asked for containers or for a network."
  }
}

run "a_container_on_each_node_in_its_part_of_the_range" {
  variables {
    template = "local:vztmpl/debian-13-standard_13.1-2_arm64.tar.zst"
  }

  assert {
    condition = {
      for node, one in proxmox_virtual_environment_container.tailnet :
      one.initialization[0].hostname => one.initialization[0].ip_config[0].ipv4[0]
      } == {
      lab-ampere-1-tailnet = { address = "10.20.0.2/16", gateway = "10.20.0.1" }
      lab-ampere-2-tailnet = { address = "10.20.1.2/16", gateway = "10.20.1.1" }
    }
    error_message = "The containers have not the addresses that the pipeline gives them."
  }
}

run "a_network_between_all_nodes" {
  variables {
    sdn = {}
  }

  assert {
    condition     = proxmox_sdn_zone_vxlan.guests[0].peers == toset(["10.0.1.11", "10.0.1.12"])
    error_message = "Every node is a peer."
  }

  assert {
    condition     = proxmox_sdn_vnet.guests[0].tag == 4000 && proxmox_sdn_subnet.guests[0].cidr == "10.20.0.0/16"
    error_message = "It is another network than the declared one."
  }
}

run "a_cluster_without_nodes_is_none" {
  command = plan

  variables {
    nodes = []
    ceph  = null
  }

  expect_failures = [var.nodes]
}
