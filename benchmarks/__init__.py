"""Benchmarks of macnet beside the classic recipe and the published port, in one lab."""
