"""OASE Agent: collects events from monitoring systems, keeps them on disk, hands each over once."""

__version__ = "0.1.0"
