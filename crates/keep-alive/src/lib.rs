//! A Tower layer that turns a connector into a keep-alive connection pool with a cap per origin, a fair queue and no ghost connects.
