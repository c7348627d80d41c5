output "cluster" {
  description = "Name of the cluster."
  value       = google_container_cluster.this.name
}

output "cluster_id" {
  description = "Full name of the cluster."
  value       = google_container_cluster.this.id
}

output "location" {
  description = "Google region of the cluster."
  value       = google_container_cluster.this.location
}

output "endpoint" {
  description = "DNS name of the control plane."
  value       = google_container_cluster.this.control_plane_endpoints_config[0].dns_endpoint_config[0].endpoint
}

output "nodes_account" {
  description = "E-mail address of the nodes' service account."
  value       = google_service_account.nodes.email
}

output "workload_pool" {
  description = "Workload Identity pool of the cluster."
  value       = google_container_cluster.this.workload_identity_config[0].workload_pool
}

output "key_ring" {
  description = "Id of the region's key ring."
  value       = google_kms_key_ring.this.id
}

output "shutdown_seconds" {
  description = "Seconds that each pool's nodes give a pod to end, at most, by the pool's name."
  value       = local.shutdown_seconds
}
