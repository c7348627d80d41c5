# Needs no credentials: nothing of Google is called.
mock_provider "google" {
  mock_resource "google_compute_address" {
    defaults = { address = "203.0.113.7" }
  }
}

variables {
  project = "meridian-test"
  name    = "meridian-test"
  domain  = "test.example.com"
  regions = {
    one = { cluster = "meridian-test-one", location = "europe-west4", geo = "europe-west4" }
    two = { cluster = "meridian-test-two", location = "us-east4", geo = "us-west2" }
  }
}

run "answers_each_client_with_its_region_while_that_is_healthy" {
  command = apply

  assert {
    condition = [
      for geo in google_dns_record_set.global.routing_policy[0].geo :
      "${geo.location} ${geo.health_checked_targets[0].external_endpoints[0]}"
    ] == ["europe-west4 203.0.113.7", "us-west2 203.0.113.7"]
    error_message = jsonencode(google_dns_record_set.global.routing_policy)
  }
  assert {
    condition     = google_dns_record_set.global.routing_policy[0].health_check == google_compute_health_check.this.id
    error_message = jsonencode(google_dns_record_set.global.routing_policy)
  }
  assert {
    condition = {
      for name, record in google_dns_record_set.region : name => record.name
    } == { one = "one.test.example.com.", two = "two.test.example.com." }
    error_message = jsonencode(google_dns_record_set.region)
  }
}

run "asks_from_three_regions_outside" {
  command = plan

  assert {
    condition = (
      length(google_compute_health_check.this.source_regions) == 3 &&
      google_compute_health_check.this.check_interval_sec >= 30 &&
      google_compute_health_check.this.https_health_check[0].request_path == "/trafficz" &&
      google_compute_health_check.this.https_health_check[0].port == 443
    )
    error_message = jsonencode(google_compute_health_check.this)
  }
}

run "signs_its_answers" {
  command = plan

  assert {
    condition     = google_dns_managed_zone.this.dnssec_config[0].state == "on"
    error_message = jsonencode(google_dns_managed_zone.this.dnssec_config)
  }
}

run "works_out_the_time_of_a_fail_over" {
  command = plan

  assert {
    condition     = output.failover_seconds == 95
    error_message = "two questions 30 s apart, 5 s for the last answer, 30 s in caches: ${output.failover_seconds}"
  }
}

run "refuses_to_ask_more_often_than_google_does" {
  command = plan
  variables {
    check = { interval = 10 }
  }

  expect_failures = [var.check]
}

run "refuses_two_source_regions" {
  command = plan
  variables {
    source_regions = ["us-central1", "europe-west1", "us-central1"]
  }

  expect_failures = [var.source_regions]
}

run "refuses_answers_that_are_kept_for_long" {
  command = plan
  variables {
    ttl = 3600
  }

  expect_failures = [var.ttl]
}
