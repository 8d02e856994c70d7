"""The command line: parses, calls, renders; nothing else."""
