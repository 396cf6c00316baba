"""``paranal status``: how each pair and direction stands, and on whose side a fault lies.

``facts`` names what can be seen on a gateway, ``diagnose`` judges it (pure and total), the
collectors see it within a bounded time, ``report`` prints it. What could not be seen is said so,
never called good.
"""
