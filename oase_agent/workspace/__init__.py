"""Stage 5 of the data path: speak the workspace API.

Here: the bytes of the API in both directions, tokens, and answers sorted into what to do next. Not here: the
order of batches, and what happens to a refused one.
"""
