locals {
  release_channel = "REGULAR"
}
