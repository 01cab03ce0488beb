# The segment of proxmox/network, made by Proxmox's own SDN. A VXLAN zone gives no node an address of its own on it.

resource "proxmox_sdn_applier" "after_the_end" {
  count = var.sdn == null ? 0 : 1

  on_create = false
}

resource "proxmox_sdn_zone_vxlan" "guests" {
  count = var.sdn == null ? 0 : 1

  id    = var.sdn.zone
  peers = var.nodes[*].address
  mtu   = var.sdn.mtu

  depends_on = [proxmox_sdn_applier.after_the_end]
}

resource "proxmox_sdn_vnet" "guests" {
  count = var.sdn == null ? 0 : 1

  id   = var.sdn.vnet
  zone = proxmox_sdn_zone_vxlan.guests[0].id
  tag  = var.sdn.vni
}

resource "proxmox_sdn_subnet" "guests" {
  count = var.sdn == null ? 0 : 1

  vnet = proxmox_sdn_vnet.guests[0].id
  cidr = var.guests
}

resource "proxmox_sdn_applier" "now" {
  count = var.sdn == null ? 0 : 1

  on_destroy = false

  lifecycle {
    replace_triggered_by = [proxmox_sdn_zone_vxlan.guests, proxmox_sdn_vnet.guests, proxmox_sdn_subnet.guests]
  }

  depends_on = [proxmox_sdn_subnet.guests]
}
