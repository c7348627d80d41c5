output "vault_image" {
  description = "Where Vault's image is pulled from, without a tag."
  value       = local.vault
}
