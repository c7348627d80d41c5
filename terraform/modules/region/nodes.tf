# What nodes are: an identity of their own with no more rights than nodes
# need, and one pool for each of the catalogue's.

resource "google_service_account" "nodes" {
  project      = var.project
  account_id   = var.region.nodes_account
  display_name = "Nodes of ${var.region.cluster}"
  description  = "Writes logs and metrics, pulls images; pods have identities of their own"
}

resource "google_project_iam_member" "nodes" {
  # Logs, metrics, and what else the node's own agents do. Who may pull images,
  # delivery says.
  for_each = toset(["roles/container.defaultNodeServiceAccount"])

  project = var.project
  role    = each.key
  member  = google_service_account.nodes.member
}

# Who makes nodes must be allowed to let them be this account.
resource "google_service_account_iam_member" "operator" {
  service_account_id = google_service_account.nodes.name
  role               = "roles/iam.serviceAccountUser"
  member             = var.operator
}

locals {
  # The taint that the chart tolerates. The label of the same name, by which
  # the chart prefers these nodes, is put on every spot node by GKE itself.
  spot_taint = {
    key    = "cloud.google.com/gke-spot"
    value  = "true"
    effect = "NO_SCHEDULE"
  }

  # Seconds from SIGTERM to SIGKILL that a node gives a pod at most. Google tells
  # a spot node 30 s before it takes it away, and GKE keeps the last 15 for its
  # own pods; no argument of this provider changes that. Other nodes are drained,
  # for an hour at most.
  shutdown_seconds = {
    for name, pool in var.region.pools : name => pool.spot ? 15 : 3600
  }

  # GKE spreads a regional cluster over three zones when none are named.
  zones = length(var.region.zones) == 0 ? 3 : length(var.region.zones)

  # The autoscaler keeps to the least number of nodes only when it takes nodes
  # away, so that a pool has to start with it; the number is for each zone.
  initial_nodes = {
    for name, pool in var.region.pools : name => min(
      ceil(pool.min / local.zones), floor(pool.max / local.zones)
    )
  }
}

resource "google_container_node_pool" "this" {
  for_each = var.region.pools

  project  = var.project
  cluster  = google_container_cluster.this.id
  location = google_container_cluster.this.location
  name     = each.key

  initial_node_count = local.initial_nodes[each.key]

  autoscaling {
    total_min_node_count = each.value.min
    total_max_node_count = each.value.max
    # Spot nodes come from whichever zone has them, others evenly from all.
    location_policy = each.value.spot ? "ANY" : "BALANCED"
  }

  management {
    auto_repair  = true
    auto_upgrade = true
  }

  # Nodes are drained one by one, as the PodDisruptionBudget lets them be. A
  # spot node more may not be had for hours, so there one goes before the next
  # comes, and its pods have a place in the pools that are not spot.
  upgrade_settings {
    strategy        = "SURGE"
    max_surge       = each.value.spot ? 0 : 1
    max_unavailable = each.value.spot ? 1 : 0
  }

  node_config {
    machine_type = each.value.machine
    spot         = each.value.spot
    image_type   = "COS_CONTAINERD"
    disk_type    = "pd-balanced"
    disk_size_gb = 50

    service_account = google_service_account.nodes.email
    # Rights are the service account's, not the scope's.
    oauth_scopes = ["https://www.googleapis.com/auth/cloud-platform"]

    labels          = { "meridian.internal/pool" = each.key }
    resource_labels = var.region.labels
    tags            = [var.region.cluster]

    dynamic "taint" {
      for_each = each.value.spot ? [local.spot_taint] : []
      content {
        key    = taint.value.key
        value  = taint.value.value
        effect = taint.value.effect
      }
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

  lifecycle {
    # It is of the pool's first moment; a new least number of nodes must not
    # replace the pool.
    ignore_changes = [initial_node_count]
  }

  # Nodes without their rights run, and no log or metric tells of it.
  depends_on = [google_project_iam_member.nodes]
}
