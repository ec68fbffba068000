"""SOURCE_OPTIONS_FILE: the options of single settings, from YAML to what sources take.

Here: what the file may say (`document`), the files it names (`files`), the reading of all of it (`read`), and the
published schema (`schema`). Not here: when it is read again, and what sources do with it. Nothing of this is imported
unless the option is set.
"""
