"""Proof search: a policy proposes tactics, a search tries them with a prover, the prover's check has the last word."""
