# The environment's names: its own, which answers with the nearest region that
# is healthy, and one for each region, which always answers with it.

resource "google_dns_managed_zone" "this" {
  project     = var.project
  name        = var.name
  dns_name    = "${var.domain}."
  description = "Names of ${var.name}"
  visibility  = "public"
  labels      = var.labels

  dnssec_config {
    state         = "on"
    non_existence = "nsec3"
    default_key_specs {
      key_type   = "keySigning"
      algorithm  = "ecdsap256sha256"
      key_length = 256
    }
    default_key_specs {
      key_type   = "zoneSigning"
      algorithm  = "ecdsap256sha256"
      key_length = 256
    }
  }
  cloud_logging_config {
    enable_logging = true
  }
}

resource "google_dns_record_set" "region" {
  for_each = var.regions

  project      = var.project
  managed_zone = google_dns_managed_zone.this.name
  name         = "${each.key}.${google_dns_managed_zone.this.dns_name}"
  type         = "A"
  ttl          = 300
  rrdatas      = [google_compute_address.region[each.key].address]
}

resource "google_dns_record_set" "global" {
  project      = var.project
  managed_zone = google_dns_managed_zone.this.name
  name         = google_dns_managed_zone.this.dns_name
  type         = "A"
  ttl          = var.ttl

  routing_policy {
    # Where a region is not healthy its clients get the nearest one that is.
    enable_geo_fencing = false
    health_check       = google_compute_health_check.this.id

    dynamic "geo" {
      for_each = var.regions
      content {
        location = geo.value.geo
        health_checked_targets {
          external_endpoints = [google_compute_address.region[geo.key].address]
        }
      }
    }
  }
}

# Asked as clients ask: from outside, over TLS, at the region's public address.
# A drained region answers 503 here and goes on serving who still comes.
resource "google_compute_health_check" "this" {
  project             = var.project
  name                = var.name
  description         = "Whether a region is in global traffic"
  source_regions      = var.source_regions
  check_interval_sec  = var.check.interval
  timeout_sec         = var.check.timeout
  unhealthy_threshold = var.check.unhealthy
  healthy_threshold   = var.check.healthy

  https_health_check {
    port         = 443
    host         = var.domain
    request_path = "/trafficz"
  }

  # Each change of a region's health is in the log.
  log_config {
    enable = true
  }
}

locals {
  failover = {
    # The region fails right after a question that it answered; so many more
    # come an interval apart, and the last waits for its answer in vain.
    detected = var.check.unhealthy * var.check.interval + var.check.timeout
  }
}
