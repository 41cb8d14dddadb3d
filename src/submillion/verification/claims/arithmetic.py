"""Whether claims can be true at all: what one text says of a classifier must fit together, rounding allowed for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from submillion.budget.count import Count, count
from submillion.errors import SubmillionError
from submillion.sources.fetch import encoder_config, known_labels
from submillion.verification.claims.claims_file import Source
from submillion.verification.claims.rounding import Range, Stated
from submillion.verification.verdict import Check

ENCODER, TARGETS, RANK = "encoder.source", "lora.targets", "lora.r"


def possible(source: Source) -> list[Check]:
    """Hold the figures of one text against each other and against the arithmetic of its recipe.

    Finds: figures of which at least one must be wrong. Cannot find: wrong figures that fit together.
    """
    checks = _budget(source)
    for split in sorted({path[1] for path in source.figures if path[0] == "metrics"}):
        for look in (_whole_rows, _macro_f1, _class_scores, _accuracy_of_classes, _confidence):
            checks += look(source, split)
    return checks + _steps(source) + _speed(source)


def counted(source: Source) -> Count | SubmillionError | None:
    """Count what the claimed recipe trains; None where it names too little, the error where it cannot be counted."""
    if not {ENCODER, TARGETS, RANK} <= set(source.settings):
        return None
    recipe = source.recipe
    classes = len(source.labels or known_labels(recipe.data.train) or ())
    if not classes:
        return None
    try:
        config = encoder_config(recipe.encoder.source, recipe.encoder.revision)
        return count(config, classes, recipe.lora, recipe.head, recipe.budget)
    except SubmillionError as error:
        return error


def _budget(source: Source) -> list[Check]:
    claimed = {path[-1]: stated for path, stated in source.figures.items() if path[0] == "budget"}
    if not claimed:
        return []
    exact = counted(source)
    where = f"{source.name}: budget"
    if exact is None:
        needed = f"{ENCODER}, {RANK}, {TARGETS} and labels"
        return [Check("budget", None, where, found=f"not all of {needed} are claimed")]
    if isinstance(exact, SubmillionError):
        return [Check("budget", None, where, found=" ".join(str(exact).split()))]
    workings = "; ".join(
        f"{part} {working} = {exact.parts[part]:,}" for part, working in exact.arithmetic.items()
    )
    of_recipe = {
        "trainable": (exact.trainable, workings),
        "total": (exact.total, "with the adapters, the head counted once"),
        "share": (exact.trainable / exact.total, f"{exact.trainable:,} of {exact.total:,}"),
    } | {part: (size, exact.arithmetic[part]) for part, size in exact.parts.items()}
    checks = []
    for name, stated in claimed.items():
        if name == "budget":
            continue
        value, working = of_recipe.get(name, (0, "the recipe trains no such part"))
        shown = f"{value:.4%}" if name == "share" else f"{value:,}"
        checks.append(
            Check("budget", _is(stated, value), f"{where}.{name}", stated.written, f"{shown} ({working})")
        )
    limit = claimed.get("budget")
    most = limit.value if limit else source.recipe.budget if "budget" in source.settings else None
    if most is not None:
        told = f"{exact.trainable:,} by its recipe"
        checks.append(Check("budget", exact.trainable <= most, where, f"at most {most:,.0f}", told))
    return checks


def _whole_rows(source: Source, split: str) -> list[Check]:
    """Look whether a whole number of right answers gives the accuracy.

    N. J. L. Brown and J. A. J. Heathers, "The GRIM test", Social Psychological and Personality Science 8 (2017)
    363-369.
    """
    rows, accuracy = _of(source, split, "rows"), _of(source, split, "accuracy")
    if not rows or not accuracy or rows.value < 1:
        return []
    low, high = accuracy.range.low * rows.value, accuracy.range.high * rows.value
    first = math.ceil(low - 1e-6)
    holds = first <= high + 1e-6
    found = (
        f"{first:,} of {rows.written} right" if holds else f"no whole number of {rows.written} rows gives it"
    )
    return [Check("accuracy", holds, f"{source.name}: metrics.{split}.accuracy", accuracy.written, found)]


def _macro_f1(source: Source, split: str) -> list[Check]:
    """Macro F1 is the mean of the classes' F1; known when every class has one."""
    macro = _of(source, split, "macro_f1")
    classes = dict(_classes(source, split, "f1"))
    if not macro or not classes or (source.labels and set(source.labels) != set(classes)):
        return []
    mean = _mean(list(classes.values()))
    found = f"{_written(mean)}, the mean of {', '.join(stated.written for stated in classes.values())}"
    return [
        Check(
            "macro_f1",
            macro.range.holds(mean),
            f"{source.name}: metrics.{split}.macro_f1",
            macro.written,
            found,
        )
    ]


def _class_scores(source: Source, split: str) -> list[Check]:
    """F1 is the harmonic mean of precision and recall, so it grows with each of them."""
    checks = []
    precision, recall = dict(_classes(source, split, "precision")), dict(_classes(source, split, "recall"))
    for label, f1 in _classes(source, split, "f1"):
        if label not in precision or label not in recall:
            continue
        one, other = precision[label].range, recall[label].range
        harmonic = Range(_harmonic(one.low, other.low), _harmonic(one.high, other.high))
        told = f"precision {precision[label].written} and recall {recall[label].written}"
        checks.append(
            Check(
                "per_class",
                f1.range.holds(harmonic),
                f"{source.name}: metrics.{split}.per_class.{label}.f1",
                f1.written,
                f"{_written(harmonic)}, of {told}",
            )
        )
    return checks


def _accuracy_of_classes(source: Source, split: str) -> list[Check]:
    """Rows are the sum of the supports, and the accuracy is the recalls' mean weighted by them."""
    support, recall = dict(_classes(source, split, "support")), dict(_classes(source, split, "recall"))
    if not support or (source.labels and set(source.labels) != set(support)):
        return []
    where, checks = f"{source.name}: metrics.{split}", []
    rows = sum(stated.value for stated in support.values())
    if claimed := _of(source, split, "rows"):
        checks.append(
            Check("rows", _is(claimed, rows), f"{where}.rows", claimed.written, f"{rows:,.0f} in all classes")
        )
    accuracy = _of(source, split, "accuracy")
    if accuracy and rows and set(recall) == set(support):
        low = sum(recall[label].range.low * size.value for label, size in support.items()) / rows
        high = sum(recall[label].range.high * size.value for label, size in support.items()) / rows
        weighted = Range(low, high)
        found = f"{_written(weighted)}, the recalls weighted by their rows"
        checks.append(
            Check("accuracy", accuracy.range.holds(weighted), f"{where}.accuracy", accuracy.written, found)
        )
    return checks


def _confidence(source: Source, split: str) -> list[Check]:
    """The top probability of C classes lies between 1 / C and 1; shares above thresholds bound its mean."""
    sure = {path[3]: stated for path, stated in source.figures.items() if path[1:3] == (split, "confidence")}
    above = {
        float(path[4]): stated
        for path, stated in source.figures.items()
        if path[1:4] == (split, "confidence", "above") and Stated.read(path[4])
    }
    least = sure["min"].range.low if "min" in sure else 1 / len(source.labels) if source.labels else 0.0
    most = min(sure["max"].range.high, 1.0) if "max" in sure else 1.0
    where, checks = f"{source.name}: metrics.{split}.confidence", []
    allowed = {
        "min": (Range(1 / len(source.labels) if source.labels else 0.0, 1.0), "between 1 / classes and 1"),
        "max": (Range(max(0.0, least), 1.0), "between the least and 1"),
        "median": (Range(least, most), "between the least and the greatest"),
        "mean": (_mean_given(above, least, most), "what least, greatest and shares above allow"),
    }
    for name, (bounds, meaning) in allowed.items():
        if name in sure:
            holds = sure[name].range.holds(bounds)
            told = f"{_written(bounds)}, {meaning}"
            checks.append(Check("confidence", holds, f"{where}.{name}", sure[name].written, told))
    ladder = sorted(above.items())
    for (lower, wide), (higher, narrow) in itertools.pairwise(ladder):
        holds = narrow.range.low <= wide.range.high
        told = f"{wide.written} above {lower}, so no more above {higher}"
        checks.append(Check("confidence", holds, f"{where}.above.{higher}", narrow.written, told))
    return checks


def _mean_given(above: dict[float, Stated], least: float, most: float) -> Range:
    """Return where the mean of a confidence can lie; each share above a threshold bounds it from both sides."""
    low, high = least, most
    for threshold, stated in above.items():
        share = stated.range
        low = max(low, least + share.low * max(threshold - least, 0.0))
        high = min(high, most - (1 - share.high) * max(most - threshold, 0.0))
    return Range(low, high)


def _steps(source: Source) -> list[Check]:
    """An epoch takes the training rows by the batch size in steps, the last, shorter one taken or left."""
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
    told = f"{rows.written} rows in batches of {train.batch_size}, {epochs:g} epochs: {_counts(expected)}"
    return [
        Check("training", steps.range.holds(expected), f"{source.name}: training.steps", steps.written, told)
    ]


def _speed(source: Source) -> list[Check]:
    """Texts per second are the epochs' texts by the seconds."""
    speed, seconds = (
        source.figures.get(("training", name)) for name in ("samples_per_second", "wall_seconds")
    )
    rows, epochs = source.figures.get(("data", "splits", "train", "rows")), _epochs(source)
    if not speed or not seconds or not rows or not epochs or seconds.range.low <= 0:
        return []
    texts = rows.value * epochs
    expected = Range(texts / seconds.range.high, texts / seconds.range.low)
    told = f"{_written(expected, 2)}, {texts:,.0f} texts in {seconds.written} s"
    where = f"{source.name}: training.samples_per_second"
    return [Check("training", speed.range.holds(expected), where, speed.written, told)]


def _epochs(source: Source) -> float | None:
    run = source.figures.get(("training", "epochs_run"))
    return run.value if run else None


def _of(source: Source, split: str, name: str) -> Stated | None:
    return source.figures.get(("metrics", split, name))


def _classes(source: Source, split: str, score: str) -> Iterator[tuple[str, Stated]]:
    for path, stated in source.figures.items():
        if path[:3] == ("metrics", split, "per_class") and path[4] == score:
            yield path[3], stated


def _is(stated: Stated, value: float) -> bool:
    return stated.range.holds(Range(value, value))


def _mean(stated: list[Stated]) -> Range:
    return Range(*(sum(getattr(one.range, end) for one in stated) / len(stated) for end in ("low", "high")))


def _harmonic(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _written(found: Range, places: int = 4) -> str:
    low, high = f"{found.low:.{places}f}", f"{found.high:.{places}f}"
    return low if low == high else f"{low} to {high}"


def _counts(found: Range) -> str:
    low, high = f"{found.low:,.0f}", f"{found.high:,.0f}"
    return low if low == high else f"{low} to {high}"
