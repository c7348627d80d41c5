# A regional cluster: its control plane and its nodes stand in every zone.

resource "google_container_cluster" "this" {
  project  = var.project
  name     = var.region.cluster
  location = var.region.location
  node_locations = [
    for zone in var.region.zones : "${var.region.location}-${zone}"
  ]
  resource_labels     = var.region.labels
  deletion_protection = var.deletion_protection

  release_channel {
    channel = var.release_channel
  }
  # No two regions of an environment at once: modules/catalogue sees to it.
  maintenance_policy {
    recurring_window {
      start_time = var.region.maintenance.start
      end_time   = var.region.maintenance.end
      recurrence = var.region.maintenance.recurrence
    }
  }

  # Node pools are resources of their own: the default one goes at once.
  remove_default_node_pool = true
  initial_node_count       = 1

  # The default pool lives for minutes, and must not have the rights of the
  # project's default service account even then.
  node_config {
    service_account = google_service_account.nodes.email
    oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"]
    tags            = [var.region.cluster]

    metadata = { disable-legacy-endpoints = "true" }
    workload_metadata_config {
      mode = "GKE_METADATA"
    }
    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }
  }

  network         = var.network
  subnetwork      = var.subnetwork.id
  networking_mode = "VPC_NATIVE"
  ip_allocation_policy {
    cluster_secondary_range_name  = var.subnetwork.pods
    services_secondary_range_name = var.subnetwork.services
  }
  # Dataplane V2 enforces the chart's NetworkPolicy; the older add-on is off.
  datapath_provider           = "ADVANCED_DATAPATH"
  enable_intranode_visibility = true
  network_policy {
    enabled = false
  }
  # Load balancers reach nodes by groups of endpoints, not of machines.
  enable_l4_ilb_subsetting = true
  addons_config {
    # Each node answers names that it knows, also while the cluster's DNS is
    # busy or on its way to another node.
    dns_cache_config {
      enabled = true
    }
    gce_persistent_disk_csi_driver_config {
      enabled = true
    }
  }

  private_cluster_config {
    enable_private_nodes = true
  }
  # The control plane is reached by name and Google identity; it has no
  # address that could be called without one.
  control_plane_endpoints_config {
    dns_endpoint_config {
      allow_external_traffic = true
    }
    ip_endpoints_config {
      enabled = false
    }
  }

  workload_identity_config {
    workload_pool = "${var.project}.svc.id.goog"
  }
  enable_shielded_nodes = true
  # Kubernetes' own Secrets are encrypted with a key of ours before Google
  # encrypts what it stores.
  database_encryption {
    state    = "ENCRYPTED"
    key_name = google_kms_crypto_key.secrets.id
  }
  security_posture_config {
    mode               = "BASIC"
    vulnerability_mode = "VULNERABILITY_DISABLED"
  }
  enable_legacy_abac = false
  master_auth {
    client_certificate_config {
      issue_client_certificate = false
    }
  }
  # The project's policy decides which images run.
  binary_authorization {
    evaluation_mode = "PROJECT_SINGLETON_POLICY_ENFORCE"
  }

  logging_config {
    enable_components = ["SYSTEM_COMPONENTS", "WORKLOADS"]
  }
  monitoring_config {
    enable_components = ["SYSTEM_COMPONENTS"]
    managed_prometheus {
      enabled = true
    }
  }

  # What each namespace costs is told apart on the bill.
  cost_management_config {
    enabled = true
  }

  lifecycle {
    # Both are of the default pool, which is gone.
    ignore_changes = [initial_node_count, node_config]
  }

  depends_on = [
    google_project_iam_member.nodes,
    google_service_account_iam_member.operator,
    google_kms_crypto_key_iam_member.kubernetes,
  ]
}
