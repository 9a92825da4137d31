//! Authentication: the guard before every request, the login form, and the
//! limit on wrong tokens.

pub(super) mod guard;
pub(super) mod login;
pub(super) mod rate_limit;
