# Google Kubernetes Engine makes the rules that its nodes, pods and load
# balancers need, at priority 1000 and above. All else is refused by the rule
# that every network has; this one does the same, and writes it down.

resource "google_compute_firewall" "deny_ingress" {
  project     = var.project
  name        = "${var.name}-deny-ingress"
  description = "Refuses, with a log, what no other rule lets in"
  network     = google_compute_network.this.id

  direction     = "INGRESS"
  priority      = 65534
  source_ranges = ["0.0.0.0/0"]

  deny {
    protocol = "all"
  }

  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}
