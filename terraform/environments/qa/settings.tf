locals {
  release_channel = "RAPID"
}
