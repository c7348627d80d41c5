output "address" {
  description = "The internal address of Vault."
  value       = google_compute_address.vault.address
}

output "host" {
  description = "The DNS name of that address, which this network alone knows."
  value       = var.region.vault.host
}

output "account" {
  description = "E-mail address of the servers' service account."
  value       = google_service_account.vault.email
}

output "key" {
  description = "Id of the key with which servers unseal themselves."
  value       = google_kms_crypto_key.seal.id
}

output "snapshots" {
  description = "Where snapshots go, and as whom they are put there."
  value = {
    bucket          = google_storage_bucket.snapshots.name
    account         = google_service_account.snapshots.email
    service_account = "${var.region.vault.namespace}/${var.region.vault.name}-snapshots"
  }
}

output "values" {
  description = <<-EOT
    Values of the official chart that only Terraform knows: for `regions
    bootstrap --vault-values`, after those that it makes from the catalogue.
  EOT
  value = {
    server = {
      image        = { repository = var.image }
      nodeSelector = { (local.taint.key) = local.taint.value }
      tolerations = [{
        key      = local.taint.key
        operator = "Equal"
        value    = local.taint.value
        effect   = "NoSchedule"
      }]
    }
    # The chart's Service for the interface is the only one that can have a load
    # balancer. The interface itself stays off (`ui = false`): what is reached
    # is the API of the active server.
    ui = {
      enabled            = true
      activeVaultPodOnly = true
      serviceType        = "LoadBalancer"
      externalPort       = 8200
      annotations = {
        "networking.gke.io/load-balancer-type"         = "Internal"
        "networking.gke.io/load-balancer-ip-addresses" = google_compute_address.vault.name
      }
    }
  }
}
