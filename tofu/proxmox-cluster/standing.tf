# What is taken over as it stands.

locals {
  access = toset(var.standing.access ? ["pipeline"] : [])
}

import {
  for_each = toset(var.standing.local ? ["local"] : [])
  to       = proxmox_storage_directory.local
  id       = each.key
}

import {
  for_each = local.access
  to       = proxmox_virtual_environment_role.pipeline
  id       = var.role
}

import {
  for_each = local.access
  to       = proxmox_virtual_environment_user.pipeline
  id       = var.user
}

import {
  for_each = local.access
  to       = proxmox_user_token.pipeline
  id       = "${var.user}!${var.token}"
}

import {
  for_each = local.access
  to       = proxmox_acl.user
  id       = "/?${var.user}?${var.role}"
}

import {
  for_each = local.access
  to       = proxmox_acl.token
  id       = "/?${var.user}!${var.token}?${var.role}"
}

import {
  for_each = toset(var.standing.ceph ? ["ceph"] : [])
  to       = proxmox_ceph_pool.guests[0]
  id       = "${var.nodes[0].name}/${var.ceph.pool}"
}

import {
  for_each = var.standing.containers
  to       = proxmox_virtual_environment_container.tailnet[each.key]
  id       = "${each.key}/${each.value}"
}
