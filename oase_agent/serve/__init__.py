"""Doors into the running agent: health, readiness, metrics and status. They look; they change nothing."""
