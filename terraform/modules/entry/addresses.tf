# A region's address, which outlives its cluster and every Service in it. The
# chart's Service asks for it by its name.

resource "google_compute_address" "region" {
  for_each = var.regions

  project      = var.project
  name         = each.value.cluster
  description  = "Clients of ${each.value.cluster}"
  region       = each.value.location
  address_type = "EXTERNAL"
  network_tier = "PREMIUM"
  labels       = each.value.labels
}
