# What proxmox/cluster lets the storages hold, and proxmox/ceph_pool: the pool, and its storage on every node.

# Proxmox brings it, and puts it back as it was at first when it is taken away.
resource "proxmox_storage_directory" "local" {
  id      = "local"
  path    = "/var/lib/vz"
  content = var.local
  shared  = false
}

resource "proxmox_ceph_pool" "guests" {
  count = var.ceph == null ? 0 : 1

  node_name         = var.nodes[0].name
  name              = var.ceph.pool
  size              = var.ceph.size
  min_size          = var.ceph.min_size
  pg_num            = 32
  pg_autoscale_mode = "on"
  application       = "rbd"
  add_storages      = true
  remove_storages   = true

  lifecycle {
    # The autoscaler makes more groups when the pool fills. A pool that is taken over has its storage already.
    ignore_changes = [pg_num, add_storages]
  }
}
