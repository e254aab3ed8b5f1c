//! Scripted upstreams, a scripted DNS server, black holes and the contract suite that Tollgate's tests stand on.
