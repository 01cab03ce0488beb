# What proxmox/cluster makes once all nodes have joined: a role, a user, a token, and the role for both, on everything.

resource "proxmox_virtual_environment_role" "pipeline" {
  role_id    = var.role
  privileges = var.privileges
}

resource "proxmox_virtual_environment_user" "pipeline" {
  user_id = var.user
  comment = "ocifree: no password, a token only"
  enabled = true
}

resource "proxmox_user_token" "pipeline" {
  user_id               = proxmox_virtual_environment_user.pipeline.user_id
  token_name            = var.token
  privileges_separation = true
}

resource "proxmox_acl" "user" {
  path      = "/"
  user_id   = proxmox_virtual_environment_user.pipeline.user_id
  role_id   = proxmox_virtual_environment_role.pipeline.role_id
  propagate = true
}

resource "proxmox_acl" "token" {
  path      = "/"
  token_id  = proxmox_user_token.pipeline.id
  role_id   = proxmox_virtual_environment_role.pipeline.role_id
  propagate = true
}

# The pipeline makes none: it finds its guests by their tags.
resource "proxmox_virtual_environment_pool" "guests" {
  count = var.pool == null ? 0 : 1

  pool_id = var.pool
  comment = "ocifree: the guests of ${var.deployment}"
}

output "token" {
  description = "The name and the secret of the token, as an Authorization header has them."
  value       = proxmox_user_token.pipeline.value
  sensitive   = true
}
