"""Trainings: one LightningModule per stage, and what happens beside the optimisation."""
