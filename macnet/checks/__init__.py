"""Checks: data with an id, needs and a run; they change nothing."""
