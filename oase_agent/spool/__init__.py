"""Stage 3 of the data path: keep events on disk, in order, until the workspace has them.

Here: the file format, the checkpoint, recovery, packing, known ids and the limits of the volume. Not here:
where events come from, and how they leave.
"""
