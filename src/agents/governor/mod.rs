//! todo
#[derive(Debug)]
pub struct Governor;
#[derive(Debug)]
pub struct GovernorSettings;
#[derive(Debug)]
pub struct Permit;
