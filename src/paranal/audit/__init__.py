"""The audit: what is declared, loaded and running, judged against the agreement.

Today it proves the declared layer: ``paranal audit prove`` (``paranal.audit.proof``).
"""
