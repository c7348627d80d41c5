output "addresses" {
  description = "Each region's address by the region's name: its own name, by which a Service asks for it, and the number."
  value = {
    for name, address in google_compute_address.region : name => {
      name    = address.name
      address = address.address
    }
  }
}

output "name_servers" {
  description = "What the parent zone must delegate to."
  value       = google_dns_managed_zone.this.name_servers
}

output "failover_seconds" {
  description = <<-EOT
    Seconds from a region's last good answer until no client is sent to it, at
    most, for resolvers that keep to the time to live.
  EOT
  value       = local.failover.detected + var.ttl
}
