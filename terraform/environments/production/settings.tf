locals {
  release_channel = "STABLE"
}
