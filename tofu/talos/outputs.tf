output "kubeconfig" {
  description = "For kubectl."
  value       = talos_cluster_kubeconfig.admin.kubeconfig_raw
  sensitive   = true
}

output "talosconfig" {
  description = "For talosctl."
  value       = data.talos_client_configuration.admin.talos_config
  sensitive   = true
}
