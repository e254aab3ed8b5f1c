//! A Tower layer that gives a connector one time budget, DNS to usable connection, and says which phase ran out.
