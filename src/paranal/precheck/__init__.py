"""The line to a peer, tried before any key exists: ``paranal precheck``, at both ends at once.

Nothing here is trusted by anything: who may speak for a country is settled by certificates later.
It depends on the standard library but for its words, and imports only ``paranal.agreement``.
"""
