"""What the operator may set: read once at the start, checked as a whole, handed on as frozen values.

`groups` and `workspace` declare every option, `load` turns an environment into an `AgentConfig`, `reference`
writes the documentation from the same declarations. Nothing else in the agent sees the environment.
"""
