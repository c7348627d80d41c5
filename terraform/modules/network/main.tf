# One network for an environment. Nothing comes in but what Google Kubernetes
# Engine opens for its own nodes, pods and load balancers.

resource "google_compute_network" "this" {
  project     = var.project
  name        = var.name
  description = "Network of ${var.name}; its subnets follow the catalogue"

  # Subnets are the catalogue's.
  auto_create_subnetworks = false
  # A router serves its own region: regions share no route, and no failure.
  routing_mode = "REGIONAL"
}

resource "google_compute_subnetwork" "region" {
  for_each = var.regions

  project = var.project
  name    = "${var.name}-${each.key}"
  region  = each.value.location
  network = google_compute_network.this.id

  ip_cidr_range = each.value.subnets.nodes
  secondary_ip_range {
    range_name    = "services"
    ip_cidr_range = each.value.subnets.services
  }
  secondary_ip_range {
    range_name    = "pods"
    ip_cidr_range = each.value.subnets.pods
  }

  # Nodes have no public address; this is their way to Google's interfaces.
  private_ip_google_access = true

  log_config {
    aggregation_interval = "INTERVAL_5_SEC"
    flow_sampling        = 0.5
    metadata             = "INCLUDE_ALL_METADATA"
  }
}
