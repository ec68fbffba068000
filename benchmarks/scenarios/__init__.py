"""What the real agent is put through, one situation a module; each yields rows for the report."""
