# Where the servers run: three nodes or more, one in each zone, that Google
# takes away for no price, and that nothing else runs on.

locals {
  # GKE spreads a regional cluster over three zones when none are named.
  zones = length(var.region.zones) == 0 ? 3 : length(var.region.zones)

  # The catalogue lets no other pool have this name.
  pool  = "vault"
  taint = { key = "meridian.internal/pool", value = local.pool, effect = "NO_SCHEDULE" }
}

resource "google_container_node_pool" "vault" {
  project  = var.project
  cluster  = var.cluster
  location = var.region.location
  name     = local.pool

  # In each zone.
  node_count = ceil(3 / local.zones)

  management {
    auto_repair  = true
    auto_upgrade = true
  }

  # One server at a time, and its successor's node first.
  upgrade_settings {
    strategy        = "SURGE"
    max_surge       = 1
    max_unavailable = 0
  }

  node_config {
    machine_type = var.machine
    spot         = false
    image_type   = "COS_CONTAINERD"
    disk_type    = "pd-balanced"
    disk_size_gb = 50

    service_account = var.nodes_account
    # Rights are the service account's, not the scope's.
    oauth_scopes = ["https://www.googleapis.com/auth/cloud-platform"]

    labels          = { (local.taint.key) = local.taint.value }
    resource_labels = var.region.labels
    tags            = [var.region.cluster]

    taint {
      key    = local.taint.key
      value  = local.taint.value
      effect = local.taint.effect
    }

    metadata = { disable-legacy-endpoints = "true" }
    # Pods get identities of their own, never the node's.
    workload_metadata_config {
      mode = "GKE_METADATA"
    }
    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }
    kubelet_config {
      insecure_kubelet_readonly_port_enabled = "FALSE"
    }
  }
}
