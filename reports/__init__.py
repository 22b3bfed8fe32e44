"""Turns finished runs into tables, curves and careful sentences."""
