"""Tests of the suite: they mirror its four folders, with the laws of the house and the benchmarks beside them."""
