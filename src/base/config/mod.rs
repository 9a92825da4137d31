//! Reading a TOML section field by field, with every fault named at once.

pub mod fault;
pub mod section;
