"""What only a Mac can tell: ``python -m tests.mac`` checks it there and reports what was seen."""
