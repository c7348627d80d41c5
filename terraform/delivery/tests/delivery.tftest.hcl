# Needs no credentials: nothing of Google is called. Nothing is applied either,
# since what must not be destroyed could not be taken away after the test.
mock_provider "google" {}

run "tells_what_the_jobs_that_build_need" {
  command = plan

  assert {
    condition = (
      output.contexts["meridian-registry"]["IMAGE_REPOSITORY"]
      == "europe-west4-docker.pkg.dev/meridian-delivery/meridian"
    )
    error_message = output.contexts["meridian-registry"]["IMAGE_REPOSITORY"]
  }
}
