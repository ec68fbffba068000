"""Sources that answer in pages: where the next page is, how it is asked for, and when it is enough.

`pages.py` tells the story. Every page is kept before the next one is asked for, and the bookmark that is kept with it
leads to the next one, also after a crash.
"""
