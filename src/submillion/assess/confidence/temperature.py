"""One temperature for all probabilities of a classifier: how it is fitted, and what it makes of them."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from submillion.assess.metrics import LEAST_PROBABILITY
from submillion.run_format.interval import CONFIDENCE, Interval, interval

if TYPE_CHECKING:
    import numpy as np

LOWEST, HIGHEST = 0.05, 20.0


def fit(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Fit the temperature that gives labelled rows the least log loss.

    Guo et al. 2017, arXiv:1706.04599, section 4.2: softmax(logits / T). Log probabilities are logits less a
    number per row, which the softmax does not see. The loss is convex in 1 / T, so its one minimum is found
    between T = 0.05 and 20.

    The interval is that of an estimate by maximum likelihood from a model that need not be true (H. White,
    Econometrica 50 (1982) 1-25, theorem 3.2), taken on the logarithm of T.

    Args:
        probabilities: [N, C], N at least 1.
        labels: class index per row, int [N].

    Returns:
        An interval, its limits None at a bound, with `rows` and `at_bound`: True where the loss falls up to 0.05 or 20,
        as it does where every row is right: then the rows tell no temperature.
    """
    import numpy as np
    from scipy.optimize import minimize_scalar

    logits = _logs(probabilities)
    of_label = logits[np.arange(len(labels)), labels]

    def loss(log_temperature: float) -> float:
        beta = math.exp(-log_temperature)
        return float((_log_sum_exp(beta * logits) - beta * of_label).mean())

    bounds = math.log(LOWEST), math.log(HIGHEST)
    least = float(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-7}).x)
    # At an end the loss may be flat to the last digit, and the search stop anywhere on it.
    least = next((bound for bound in bounds if loss(bound) <= loss(least)), least)
    at_bound = min(least - bounds[0], bounds[1] - least) < 1e-3
    temperature = math.exp(least)
    fitted: Interval = interval(temperature)
    if not at_bound:
        scaled = scale(probabilities, temperature)
        mean = (scaled * logits).sum(axis=1)
        slopes = mean - of_label  # of a row's loss, with respect to 1 / T
        curvature = float(((scaled * logits**2).sum(axis=1) - mean**2).sum())
        if curvature > 0:
            error = math.sqrt(float((slopes**2).sum())) / curvature * temperature  # of log T
            reach = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) * error
            fitted = interval(temperature, temperature * math.exp(-reach), temperature * math.exp(reach))
    return {**fitted, "rows": len(labels), "at_bound": at_bound}


def scale(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return the probabilities at a temperature, float64 [N, C]; the order of the classes stays."""
    import numpy as np

    logits = _logs(probabilities) / temperature
    return np.exp(logits - _log_sum_exp(logits)[:, None])


def _logs(probabilities: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.log(np.maximum(probabilities.astype(np.float64), LEAST_PROBABILITY))


def _log_sum_exp(logits: np.ndarray) -> np.ndarray:
    import numpy as np

    highest = logits.max(axis=1)
    return highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
