"""A workspace and three kinds of sources that run on loopback, for the demo, for trials and for the tests.

They follow the wire contract on their own and import nothing of the agent's data path, so that an error in
the agent cannot hide behind the same error here.
"""
