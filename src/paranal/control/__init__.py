"""What gateways tell each other about themselves: parity, revocation lists, notices.

The service ``control`` of the agreement, on the strategic channel. ``service`` answers peers under
its own account and only ever writes an inbox; what is in it takes effect as root (``install``,
``effect``), which verifies again. ``cli`` is ``paranal control``.
"""
