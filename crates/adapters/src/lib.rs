//! What needs a library of its own, one file each, behind the seams of `distributary-core`.

pub mod leases;
