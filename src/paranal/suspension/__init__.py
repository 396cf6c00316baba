"""``paranal suspend``: a member closes what it asks or answers, at once and by itself (ADR 0016).

Runs on the node. ``record`` remembers what was decided, ``layers`` closes it in the firewall,
charon and HAProxy; the services follow the record by themselves.
"""
