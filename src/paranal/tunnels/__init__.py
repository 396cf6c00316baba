"""A gateway's tunnels: what charon holds, what it should hold, and how it gets there.

Runs on the node. ``charon`` talks to the daemon, ``record`` remembers what was loaded, ``plan``
decides (pure), ``reconcile`` acts, ``verify`` judges.
"""
