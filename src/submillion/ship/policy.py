"""What a run's analysis has fitted for its answers: the temperature, and the threshold of the abstain policy."""

from __future__ import annotations

from submillion.rundir import RunDir


def fitted_temperature(run: RunDir) -> float | None:
    """Return the temperature that was fitted on the validation rows (Guo et al. 2017, arXiv:1706.04599, section 4.2).

    None without one, and for one at the bound of its range, which calibrates nothing.
    """
    fitted = (run.read_analysis("confidence") or {}).get("temperature") or {}
    value = fitted.get("value")
    return None if value is None or fitted.get("at_bound") else float(value)


def abstain_threshold(run: RunDir) -> float | None:
    """Return the confidence below which the abstain policy gives no label; None without a policy that reaches it."""
    policy = (run.read_analysis("confidence") or {}).get("policy") or {}
    threshold = policy.get("threshold")
    return None if threshold is None else float(threshold)
