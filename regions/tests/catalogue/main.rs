//! Catalogues as people write them: the committed ones, broken ones, random ones, and what is made of them.

#[cfg(test)]
mod broken;
#[cfg(test)]
mod command;
#[cfg(test)]
mod folders;
#[cfg(test)]
mod random;
#[cfg(test)]
mod small;
