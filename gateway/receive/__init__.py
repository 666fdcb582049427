"""Sockets in. A ``receiver`` accepts connections and makes each a ``connection``; a ``session`` talks on it; a ``transaction``
decides about one mail and puts it into the spool; ``content`` carries the message from the one to the other.
"""
