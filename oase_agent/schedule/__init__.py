"""When to collect, and what: one job for each setting that is collected, and the loading of settings.

Not here: what a collection does.
"""
