# Needs no credentials: nothing of Google is called.
mock_provider "google" {}

variables {
  project = "meridian-test"
  name    = "meridian-test"
  regions = {
    one = {
      location = "europe-west4"
      subnets = {
        nodes = "10.0.0.0/20", services = "10.0.16.0/20", pods = "10.1.0.0/16"
      }
    }
    two = {
      location = "us-east4"
      subnets = {
        nodes = "10.4.0.0/20", services = "10.4.16.0/20", pods = "10.5.0.0/16"
      }
    }
  }
}

run "gives_each_region_a_subnet_with_its_ranges" {
  command = plan

  assert {
    condition = {
      for name, subnet in google_compute_subnetwork.region : name => merge(
        { (subnet.name) = subnet.ip_cidr_range },
        { for range in subnet.secondary_ip_range : range.range_name => range.ip_cidr_range },
      )
      } == {
      one = {
        meridian-test-one = "10.0.0.0/20"
        services          = "10.0.16.0/20"
        pods              = "10.1.0.0/16"
      }
      two = {
        meridian-test-two = "10.4.0.0/20"
        services          = "10.4.16.0/20"
        pods              = "10.5.0.0/16"
      }
    }
    error_message = jsonencode(google_compute_subnetwork.region)
  }
  assert {
    condition = alltrue([
      for subnet in google_compute_subnetwork.region :
      subnet.private_ip_google_access && length(subnet.log_config) == 1
    ])
    error_message = "every subnet must have private Google access and flow logs"
  }
}

run "translates_the_addresses_of_a_regions_own_subnet_only" {
  # Ids are known once applied.
  command = apply

  assert {
    condition = alltrue([
      for name, nat in google_compute_router_nat.region :
      nat.source_subnetwork_ip_ranges_to_nat == "LIST_OF_SUBNETWORKS" &&
      [for one in nat.subnetwork : one.name] == [google_compute_subnetwork.region[name].id] &&
      nat.region == google_compute_subnetwork.region[name].region
    ])
    error_message = jsonencode(google_compute_router_nat.region)
  }
}

run "tells_where_a_cluster_finds_its_ranges" {
  command = apply

  assert {
    condition = {
      for name, subnetwork in output.subnetworks :
      name => [subnetwork.pods, subnetwork.services]
    } == { one = ["pods", "services"], two = ["pods", "services"] }
    error_message = jsonencode(output.subnetworks)
  }
}

run "refuses_a_name_that_google_would_refuse" {
  command = plan
  variables {
    name = "Meridian_Test"
  }

  expect_failures = [var.name]
}
