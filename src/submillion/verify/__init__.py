"""Whether the claims hold: those of a run, recomputed from its files, and those of anybody, by arithmetic."""

from submillion.verify.against import verify_claims
from submillion.verify.run import verify
from submillion.verify.verdict import Check, Verdict

__all__ = ["Check", "Verdict", "verify", "verify_claims"]
