"""The findings of a study in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from submillion.study.cells import BASE
from submillion.wording import listed, percent, plural

MEASURES = {"accuracy": "accuracy", "macro_f1": "macro F1"}


def sentences(findings: Mapping[str, Any]) -> list[str]:
    """Return one sentence per effect, then the result of a search, the winner, and the comparison on test.

    The first sentence says if the cells were not scored on the same rows.
    """
    lines = []
    if splits := findings.get("rows_differ"):
        lines.append(
            f"The cells have different {listed(splits)} rows, because the study varies the data: a difference between "
            "two of them may be one between their rows."
        )
    lines += [effect["sentence"] for effect in findings["effects"]]
    lines += _search_sentences(findings)
    winner = findings["winner"]
    if winner is None:
        return [*lines, "Winner: none yet; no cell has been trained with every seed."]
    best = next(cell for cell in findings["cells"] if cell["name"] == winner)[findings["objective"]]["mean"]
    measure, score = MEASURES[findings["objective"]], percent(best, 2)
    if "search" in findings:
        lines.append(f"Higher mean {measure} of the two on validation: {winner}, {score}.")
    else:
        cells = plural(len(findings["cells"]), "cell")
        lines.append(
            f"Highest mean {measure} on validation: {winner}, {score}. As the best of {cells} it is optimistically "
            "biased."
        )
    if "test" in findings:
        tested = "the base was" if winner == BASE else "the winner and the base were"
        lines.append(f"Only {tested} scored on test, after training with every seed.")
    if "test_effect" in findings:
        lines.append(f"On test: {findings['test_effect']['sentence']}")
    if winner == BASE:
        lines.append("No other cell has a higher mean than the base.")
    return lines


def study_summary(findings: Mapping[str, Any]) -> str:
    """Return one clause about the number of cells and their seeds."""
    cells = plural(len(findings["cells"]), "cell")
    seeds = f"{'seed' if len(findings['seeds']) == 1 else 'seeds'} {listed(findings['seeds'])}"
    if "search" not in findings:
        return f"{cells}, each trained with {seeds}"
    first = findings["search"]["seed"]
    return f"{cells}, trained with seed {first}; the base and the best cell with {seeds}"


def _search_sentences(findings: Mapping[str, Any]) -> list[str]:
    """Return how many recipes were drawn, and the difference between the best one and the base."""
    if "search" not in findings:
        return []
    search = findings["search"]
    ended = search["complete"] + search["pruned"] + search["failed"]
    lines = [
        f"Search: {ended} of {plural(search['requested'], 'trial')} with seed {search['seed']}: {search['complete']} "
        f"complete, {search['pruned']} stopped early, {search['failed']} failed."
    ]
    if search["best"]:
        lines.append(
            f"Best: {search['best']}. It was selected by its score with seed {search['seed']}, so its difference to "
            "the base is optimistically biased for that seed."
        )
    return lines + [pair["sentence"] for pair in findings["pairs"]]
