"""Metrics of generated sound, each a `torchmetrics.Metric` whose states add up across processes."""
