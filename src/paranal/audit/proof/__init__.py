"""The static proof: what no packet can do to a node's rules and tunnel selectors.

Exact over every header, not sampled: all values of a field between which neither the rules nor a
claim distinguish are one class, and every combination of classes is followed through the rules.
What is proved, and under which assumptions: ``docs/proof.md``; why so: ADR 0009.
"""
