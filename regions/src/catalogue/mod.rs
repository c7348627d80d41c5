//! The catalogue: environments, and the regions of each.

pub(crate) mod first_form;
