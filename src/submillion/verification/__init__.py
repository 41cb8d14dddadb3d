"""Verification of claims: those of a run, recomputed from its files, and published ones, checked by arithmetic."""

from submillion.verification.claims.consistency import verify_claims
from submillion.verification.run.checks import verify
from submillion.verification.verdict import Check, Verdict

__all__ = ["Check", "Verdict", "verify", "verify_claims"]
