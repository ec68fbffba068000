"""Stage 1 of the data path: ask the outside world.

Here: one module per protocol that turns a rendered request into an answer on disk or in memory, and every
foreign error into one of ours. Not here: templates, meaning of the answer, the workspace.
"""
