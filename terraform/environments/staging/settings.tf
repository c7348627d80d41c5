locals {
  release_channel = "REGULAR"

  # Set once the pipeline attests what it builds; until then it is enough that
  # an image comes from our repository.
  attested = false
}
