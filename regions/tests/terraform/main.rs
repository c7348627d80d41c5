//! What Terraform makes and what `regions` names, from the same catalogue.

#[cfg(test)]
mod names;
