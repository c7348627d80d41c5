# The way out for nodes and pods, which have no public address.

resource "google_compute_router" "region" {
  for_each = var.regions

  project = var.project
  name    = "${var.name}-${each.key}"
  region  = each.value.location
  network = google_compute_network.this.id
}

resource "google_compute_router_nat" "region" {
  for_each = var.regions

  project = var.project
  name    = "${var.name}-${each.key}"
  region  = each.value.location
  router  = google_compute_router.region[each.key].name

  nat_ip_allocate_option = "AUTO_ONLY"

  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"
  subnetwork {
    name                    = google_compute_subnetwork.region[each.key].id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }

  # A node's ports grow with its connections: 64, the fixed default, run out
  # when many pods share a node. Excludes endpoint-independent mapping.
  enable_dynamic_port_allocation      = true
  enable_endpoint_independent_mapping = false
  min_ports_per_vm                    = 128
  max_ports_per_vm                    = 8192

  # Dropped connections tell of exhausted ports.
  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}
