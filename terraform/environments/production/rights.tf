# What Vault's auto-unseal asks of its key (go-kms-wrapping, gcpckms): whether it
# is there, then to encrypt and to decrypt. The predefined role for the latter
# two lacks the first, and Vault does not start with it alone.

resource "google_project_iam_custom_role" "unseal" {
  project     = module.catalogue.environment.project
  role_id     = "meridianUnseal"
  title       = "Unseals Vault with a key"
  description = "Looks at a key, encrypts and decrypts with it; granted on one key each"
  permissions = [
    "cloudkms.cryptoKeyVersions.useToDecrypt",
    "cloudkms.cryptoKeyVersions.useToEncrypt",
    "cloudkms.cryptoKeys.get",
  ]

  depends_on = [google_project_service.this]
}
