"""The first tables, a module for each station that owns them: revision 0002, which calls every `upgrade()` here.

This is history. It says what the tables were, not what they are (that is each station's `tables.py`), so it imports
nothing of the product, and a change to a table is a new revision.
"""
