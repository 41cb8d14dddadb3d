"""Checks that the claims of one text are arithmetically possible, given how its figures are rounded."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from submillion.budget.count import Count, count
from submillion.budget.pooling import with_pooling
from submillion.errors import SubmillionError
from submillion.sources.fetch import encoder_config, known_labels
from submillion.verification.claims.claims_file import Source
from submillion.verification.claims.rounding import PublishedNumber, Range
from submillion.verification.verdict import Check

ENCODER, TARGETS, RANK = "encoder.source", "lora.targets", "lora.r"


def check_arithmetic(source: Source) -> list[Check]:
    """Compare the figures of one text with each other and with the arithmetic of its recipe.

    Detects: figures of which at least one must be wrong. Cannot detect: wrong figures that are consistent.
    """
    checks = _budget(source)
    for split in sorted({path[1] for path in source.figures if path[0] == "metrics"}):
        for check in (_whole_rows, _macro_f1, _class_scores, _accuracy_of_classes, _confidence):
            checks += check(source, split)
    return checks + _steps(source) + _speed(source)


def count_recipe(source: Source) -> Count | SubmillionError | None:
    """Count the parameters of the claimed recipe; None if it is incomplete, the error if it cannot be counted."""
    if not {ENCODER, TARGETS, RANK} <= set(source.settings):
        return None
    recipe = source.recipe
    classes = len(source.labels or known_labels(recipe.data.train) or ())
    if not classes:
        return None
    try:
        config = encoder_config(recipe.encoder.source, recipe.encoder.revision)
        return count(config, classes, recipe.lora, with_pooling(recipe).head, recipe.budget)
    except SubmillionError as error:
        return error


def _budget(source: Source) -> list[Check]:
    claimed = {path[-1]: number for path, number in source.figures.items() if path[0] == "budget"}
    if not claimed:
        return []
    exact = count_recipe(source)
    where = f"{source.name}: budget"
    if exact is None:
        needed = f"{ENCODER}, {RANK}, {TARGETS} and labels"
        return [Check("budget", None, where, found=f"the text does not state all of {needed}")]
    if isinstance(exact, SubmillionError):
        return [Check("budget", None, where, found=" ".join(str(exact).split()))]
    workings = "; ".join(
        f"{part} {working} = {exact.parts[part]:,}" for part, working in exact.arithmetic.items()
    )
    of_recipe = {
        "trainable": (exact.trainable, workings),
        "total": (exact.total, "adapters included, head counted once"),
        "share": (exact.trainable / exact.total, f"{exact.trainable:,} of {exact.total:,}"),
    } | {part: (size, exact.arithmetic[part]) for part, size in exact.parts.items()}
    checks = []
    for name, number in claimed.items():
        if name == "budget":
            continue
        value, working = of_recipe.get(name, (0, "the recipe does not train such a part"))
        shown = f"{value:.4%}" if name == "share" else f"{value:,}"
        checks.append(
            Check("budget", _can_be(number, value), f"{where}.{name}", number.written, f"{shown} ({working})")
        )
    limit = claimed.get("budget")
    budget = limit.value if limit else source.recipe.budget if "budget" in source.settings else None
    if budget is not None:
        text = f"{exact.trainable:,} by its recipe"
        checks.append(Check("budget", exact.trainable <= budget, where, f"at most {budget:,.0f}", text))
    return checks


def _whole_rows(source: Source, split: str) -> list[Check]:
    """Check that a whole number of correct rows gives the accuracy (the GRIM test).

    N. J. L. Brown and J. A. J. Heathers, "The GRIM test", Social Psychological and Personality Science 8 (2017)
    363-369.
    """
    rows, accuracy = _metric(source, split, "rows"), _metric(source, split, "accuracy")
    if not rows or not accuracy or rows.value < 1:
        return []
    low, high = accuracy.range.low * rows.value, accuracy.range.high * rows.value
    first = math.ceil(low - 1e-6)
    holds = first <= high + 1e-6
    possible, impossible = (
        f"{first:,} of {rows.written} correct",
        f"no whole number of {rows.written} rows gives it",
    )
    where = f"{source.name}: metrics.{split}.accuracy"
    return [Check("accuracy", holds, where, accuracy.written, possible if holds else impossible)]


def _macro_f1(source: Source, split: str) -> list[Check]:
    """Check that macro F1 is the mean of the classes' F1, if the text states all of them."""
    macro = _metric(source, split, "macro_f1")
    classes = dict(_classes(source, split, "f1"))
    if not macro or not classes or (source.labels and set(source.labels) != set(classes)):
        return []
    mean = _mean(list(classes.values()))
    text = f"{_formatted(mean)}, the mean of {', '.join(number.written for number in classes.values())}"
    where = f"{source.name}: metrics.{split}.macro_f1"
    return [Check("macro_f1", macro.range.overlaps(mean), where, macro.written, text)]


def _class_scores(source: Source, split: str) -> list[Check]:
    """Check that each class's F1 is the harmonic mean of its precision and recall."""
    checks = []
    precision, recall = dict(_classes(source, split, "precision")), dict(_classes(source, split, "recall"))
    for label, f1 in _classes(source, split, "f1"):
        if label not in precision or label not in recall:
            continue
        one, other = precision[label].range, recall[label].range
        # The harmonic mean grows with both arguments.
        harmonic = Range(_harmonic(one.low, other.low), _harmonic(one.high, other.high))
        sources = f"precision {precision[label].written} and recall {recall[label].written}"
        checks.append(
            Check(
                "per_class",
                f1.range.overlaps(harmonic),
                f"{source.name}: metrics.{split}.per_class.{label}.f1",
                f1.written,
                f"{_formatted(harmonic)}, from {sources}",
            )
        )
    return checks


def _accuracy_of_classes(source: Source, split: str) -> list[Check]:
    """Check that the supports add up to the rows, and that accuracy is the support-weighted mean of the recalls."""
    support, recall = dict(_classes(source, split, "support")), dict(_classes(source, split, "recall"))
    if not support or (source.labels and set(source.labels) != set(support)):
        return []
    where, checks = f"{source.name}: metrics.{split}", []
    rows = sum(number.value for number in support.values())
    if claimed := _metric(source, split, "rows"):
        checks.append(
            Check(
                "rows",
                _can_be(claimed, rows),
                f"{where}.rows",
                claimed.written,
                f"{rows:,.0f} in all classes",
            )
        )
    accuracy = _metric(source, split, "accuracy")
    if accuracy and rows and set(recall) == set(support):
        low = sum(recall[label].range.low * size.value for label, size in support.items()) / rows
        high = sum(recall[label].range.high * size.value for label, size in support.items()) / rows
        weighted = Range(low, high)
        text = f"{_formatted(weighted)}, the recalls weighted by their rows"
        checks.append(
            Check("accuracy", accuracy.range.overlaps(weighted), f"{where}.accuracy", accuracy.written, text)
        )
    return checks


def _confidence(source: Source, split: str) -> list[Check]:
    """Check that the top probability of C classes is in [1 / C, 1] and fits the shares above thresholds."""
    claimed = {
        path[3]: number for path, number in source.figures.items() if path[1:3] == (split, "confidence")
    }
    above = {
        float(path[4]): number
        for path, number in source.figures.items()
        if path[1:4] == (split, "confidence", "above") and PublishedNumber.parse(path[4])
    }
    uniform = 1 / len(source.labels) if source.labels else 0.0
    lowest = claimed["min"].range.low if "min" in claimed else uniform
    highest = min(claimed["max"].range.high, 1.0) if "max" in claimed else 1.0
    where, checks = f"{source.name}: metrics.{split}.confidence", []
    allowed = {
        "min": (Range(uniform, 1.0), "from 1 / classes to 1"),
        "max": (Range(max(0.0, lowest), 1.0), "from the minimum to 1"),
        "median": (Range(lowest, highest), "from the minimum to the maximum"),
        "mean": (_mean_given(above, lowest, highest), "by minimum, maximum and the shares above thresholds"),
    }
    for name, (bounds, meaning) in allowed.items():
        if name in claimed:
            holds = claimed[name].range.overlaps(bounds)
            text = f"{_formatted(bounds)}, {meaning}"
            checks.append(Check("confidence", holds, f"{where}.{name}", claimed[name].written, text))
    for (lower, wide), (higher, narrow) in itertools.pairwise(sorted(above.items())):
        holds = narrow.range.low <= wide.range.high
        text = f"{wide.written} above {lower}, so not more above {higher}"
        checks.append(Check("confidence", holds, f"{where}.above.{higher}", narrow.written, text))
    return checks


def _mean_given(above: dict[float, PublishedNumber], lowest: float, highest: float) -> Range:
    """Return the possible means of a confidence; each share above a threshold bounds the mean on both sides."""
    low, high = lowest, highest
    for threshold, number in above.items():
        share = number.range
        low = max(low, lowest + share.low * max(threshold - lowest, 0.0))
        high = min(high, highest - (1 - share.high) * max(highest - threshold, 0.0))
    return Range(low, high)


def _steps(source: Source) -> list[Check]:
    """Check that the steps are epochs times rows by batch size; the last, smaller batch may have been dropped."""
    steps, rows = (
        source.figures.get(("training", "steps")),
        source.figures.get(("data", "splits", "train", "rows")),
    )
    epochs = _epochs(source)
    if not steps or not rows or not epochs or "train.batch_size" not in source.settings:
        return []
    train = source.recipe.train
    batches = rows.value / train.batch_size / train.gradient_accumulation_steps
    expected = Range(epochs * math.floor(batches), epochs * math.ceil(batches))
    text = f"{rows.written} rows in batches of {train.batch_size}, {epochs:g} epochs: {_counts(expected)}"
    where = f"{source.name}: training.steps"
    return [Check("training", steps.range.overlaps(expected), where, steps.written, text)]


def _speed(source: Source) -> list[Check]:
    """Check that texts per second are the texts of all epochs divided by the seconds."""
    speed, seconds = (
        source.figures.get(("training", name)) for name in ("samples_per_second", "wall_seconds")
    )
    rows, epochs = source.figures.get(("data", "splits", "train", "rows")), _epochs(source)
    if not speed or not seconds or not rows or not epochs or seconds.range.low <= 0:
        return []
    texts = rows.value * epochs
    expected = Range(texts / seconds.range.high, texts / seconds.range.low)
    text = f"{_formatted(expected, 2)}, {texts:,.0f} texts in {seconds.written} s"
    where = f"{source.name}: training.samples_per_second"
    return [Check("training", speed.range.overlaps(expected), where, speed.written, text)]


def _epochs(source: Source) -> float | None:
    run = source.figures.get(("training", "epochs_run"))
    return run.value if run else None


def _metric(source: Source, split: str, name: str) -> PublishedNumber | None:
    return source.figures.get(("metrics", split, name))


def _classes(source: Source, split: str, score: str) -> Iterator[tuple[str, PublishedNumber]]:
    for path, number in source.figures.items():
        if path[:3] == ("metrics", split, "per_class") and path[4] == score:
            yield path[3], number


def _can_be(number: PublishedNumber, value: float) -> bool:
    return number.range.overlaps(Range(value, value))


def _mean(numbers: list[PublishedNumber]) -> Range:
    low = sum(number.range.low for number in numbers) / len(numbers)
    return Range(low, sum(number.range.high for number in numbers) / len(numbers))


def _harmonic(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _formatted(interval: Range, places: int = 4) -> str:
    low, high = f"{interval.low:.{places}f}", f"{interval.high:.{places}f}"
    return low if low == high else f"{low} to {high}"


def _counts(interval: Range) -> str:
    low, high = f"{interval.low:,.0f}", f"{interval.high:,.0f}"
    return low if low == high else f"{low} to {high}"
