"""Stage 4 of the data path: hand events over, strictly in order for each setting.

Here: what to send next, what an answer means for what was sent, how long to wait. Not here: HTTP, tokens, and
the bytes on disk.
"""
