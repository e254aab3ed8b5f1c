//! A Tower layer and an observer that make hidden queues visible through the metrics facade.
