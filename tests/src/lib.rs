//! Tests of whole Tollgate stacks; each is a file beside this package's manifest.
