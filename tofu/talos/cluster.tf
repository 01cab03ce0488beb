# What talos/secrets, talos/machine_config_<n>, talos/cluster and talos/kubeconfig make by their own calls.

locals {
  control_planes = sort([for name, node in var.nodes : name if node.role == "controlplane"])
  first          = var.nodes[local.control_planes[0]]
  has_workers    = length(var.nodes) > length(local.control_planes)

  common = {
    machine = {
      install = { image = "${var.installer}:v${var.talos_version}" }
    }
    cluster = {
      allowSchedulingOnControlPlanes = !local.has_workers
      network = {
        cni            = { name = "none" }
        podSubnets     = [var.pods]
        serviceSubnets = [var.services]
      }
      proxy = { disabled = true }
    }
  }
}

resource "talos_machine_secrets" "cluster" {
  talos_version = "v${var.talos_version}"
}

data "talos_machine_configuration" "node" {
  for_each = var.nodes

  cluster_name       = var.cluster
  cluster_endpoint   = var.endpoint
  machine_type       = each.value.role
  machine_secrets    = talos_machine_secrets.cluster.machine_secrets
  talos_version      = "v${var.talos_version}"
  kubernetes_version = var.kubernetes_version

  config_patches = concat(
    [
      yamlencode(local.common),
      yamlencode({ apiVersion = "v1alpha1", kind = "HostnameConfig", hostname = each.key, auto = "off" }),
    ],
    var.patches,
  )
}

resource "talos_machine_configuration_apply" "node" {
  for_each = var.nodes

  client_configuration        = talos_machine_secrets.cluster.client_configuration
  machine_configuration_input = data.talos_machine_configuration.node[each.key].machine_configuration
  node                        = each.value.address
  endpoint                    = coalesce(each.value.dialled, each.value.address)
}

resource "talos_machine_bootstrap" "first" {
  client_configuration = talos_machine_secrets.cluster.client_configuration
  node                 = local.first.address
  endpoint             = coalesce(local.first.dialled, local.first.address)

  depends_on = [talos_machine_configuration_apply.node]
}

resource "talos_cluster_kubeconfig" "admin" {
  client_configuration = talos_machine_secrets.cluster.client_configuration
  node                 = local.first.address
  endpoint             = coalesce(local.first.dialled, local.first.address)

  depends_on = [talos_machine_bootstrap.first]
}

data "talos_client_configuration" "admin" {
  cluster_name         = var.cluster
  client_configuration = talos_machine_secrets.cluster.client_configuration
  endpoints            = [for name in local.control_planes : var.nodes[name].address]
  nodes                = [for node in var.nodes : node.address]
}
