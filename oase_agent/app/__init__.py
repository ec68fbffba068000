"""The whole agent: the only package that constructs parts and knows the configuration.

`build.py` makes the parts from a configuration, `agent.py` runs and stops them, `standing.py` tells how they are.
"""
