"""A country's own half, made in one step where there is none: ``paranal member init``.

Runs on the controller only. It calls what each part has for this: the authority of ``paranal.pki``,
the signing key and the card of ``paranal.agreement``; preshared keys come later (``paranal ppk``).
"""
