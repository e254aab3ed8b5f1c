//! A Tower connector that dials by RFC 8305 over any resolver, with socket options, an address policy and errors that name every attempt.
