"""Stage 2 of the data path: from an answer to labelled events.

Here: rendering the request, reading the answer slice by slice, labelling, dropping known ids, and the
story of one collection. Not here: sockets and the files of the spool.
"""
