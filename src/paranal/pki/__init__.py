"""The national certificate authority: issue, revoke, publish, and check what peers publish.

A country's keys never leave its own directory; what others get is public (``publish``) and what we
take from others is checked against the agreement before it reaches a node (``peers``).
"""
