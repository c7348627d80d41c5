output "id" {
  description = "Id of the network."
  value       = google_compute_network.this.id
}

output "subnetworks" {
  description = <<-EOT
    The subnetwork of each region by the region's name: its id, and the names
    of its secondary ranges for pods and services.
  EOT
  value = {
    for name, subnetwork in google_compute_subnetwork.region : name => {
      id       = subnetwork.id
      pods     = "pods"
      services = "services"
    }
  }

  # A cluster is of no use before its nodes can reach out.
  depends_on = [google_compute_router_nat.region]
}
