"""Rows in, batches out: sources, cached features, data modules."""
