"""The agreement (anexo técnico): the one declaration all members sign, and what derives from it.

``load`` reads and checks the file, ``member_view`` derives one member's half of it. Both are pure
but for reading the file; nothing here imports another part of the house.
"""

from paranal.agreement.derive import STATUSES, effective, is_open, member_view, ppk_name
from paranal.agreement.load import Agreement, load
from paranal.agreement.suspension import narrowed

__all__ = [
    "STATUSES",
    "Agreement",
    "effective",
    "is_open",
    "load",
    "member_view",
    "narrowed",
    "ppk_name",
]
