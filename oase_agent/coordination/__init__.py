"""Which replica collects and delivers which setting: exactly one each (decision 15).

Here: who is there, who should own a setting, who does, and how it changes hands. `kubernetes/` and `volume.py` are
two engines behind one interface, `coordinator.py`. Not here: what owning means for spool, schedule and delivery.
"""
