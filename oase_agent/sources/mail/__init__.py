"""Mail: one mailbox over IMAP as a source (contract section 8).

Read from `source.py` downwards: it asks `session.py`, which connects (`wire.py`, `route.py`, `proxy.py`), speaks IMAP
(`connection.py`), finds what is new (`mailbox.py`, `bookmark.py`) and turns each mail into a document (`message.py`).
Everything but `source.py` blocks, and runs in threads of its own. Not here: labels, known ids, the workspace.
"""
