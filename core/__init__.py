"""Trains one network from one RunConfig and leaves one finished run folder."""
