//! Each identity may what its program calls, and nothing else: real tokens on a real Vault.
