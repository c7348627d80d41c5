# Where Vault is reached from inside of the network: an address, and a name that
# only this network knows.

resource "google_compute_address" "vault" {
  project      = var.project
  name         = "${var.region.cluster}-vault"
  description  = "Vault of ${var.region.cluster}"
  region       = var.region.location
  address_type = "INTERNAL"
  subnetwork   = var.subnetwork
  labels       = var.region.labels
}

# A zone for the one name: a larger one would hide the public names beneath it.
resource "google_dns_managed_zone" "vault" {
  project     = var.project
  name        = "${var.region.cluster}-vault"
  dns_name    = "${var.region.vault.host}."
  description = "Vault of ${var.region.cluster}"
  visibility  = "private"
  labels      = var.region.labels

  private_visibility_config {
    networks {
      network_url = var.network
    }
  }
}

resource "google_dns_record_set" "vault" {
  project      = var.project
  managed_zone = google_dns_managed_zone.vault.name
  name         = google_dns_managed_zone.vault.dns_name
  type         = "A"
  ttl          = 300
  rrdatas      = [google_compute_address.vault.address]
}
