"""Searches settings around one RunConfig with Optuna, on validation data only."""
