"""Summarizes a run for a notebook cell or a terminal: its scores, the verdict against its baselines, its budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from submillion.report.budget_bar import BudgetBar, budget_bar
from submillion.report.filters import engine
from submillion.run_format.reported import reported_scores
from submillion.rundir import RunDir
from submillion.wording import percent, percent_interval, printable

TEMPLATE = "run_summary.html.jinja"
# Mid-tones that contrast with light and dark notebook themes alike; by the shades of `budget_bar`.
COLOURS = {
    1: "#1F6FB5",
    2: "#2E82C9",
    3: "#4393D6",
    4: "#5BA4E0",
    5: "#74B3E6",
    6: "#8DC1EB",
    7: "#6B7580",
    8: "#8D969F",
}
NO_BASELINE = "No baseline was trained."
ADOPTED = "Adopted: another program trained it, so no baseline can be trained."


@dataclass(frozen=True)
class RunSummary:
    """What both forms of the summary show."""

    name: str
    status: str
    split: str | None
    """The scored split: test if there is one, else validation or cross-validation; None before the run is scored."""
    accuracy: str | None
    accuracy_interval: str | None
    macro_f1: str | None
    verdict: str
    """About the run and the best of its baselines."""
    leads: bool
    """Whether the run is significantly better than all of them."""
    bar: BudgetBar | None


def summary_html(run: RunDir) -> str:
    """Return a run's summary as HTML for a notebook: inline styles, no script, no external address.

    Raises:
        BadInput: a file of the run cannot be read.
    """
    template = engine(autoescape=True).get_template(TEMPLATE)
    return template.render(run=_summary(run), colours=COLOURS)


def summary_text(run: RunDir) -> str:
    """Return a run's summary as a few lines of text.

    Raises:
        BadInput: a file of the run cannot be read.
    """
    summary = _summary(run)
    lines = [summary.name if summary.status == "complete" else f"{summary.name} ({summary.status})"]
    if summary.accuracy is None:
        lines.append("  not scored yet")
    else:
        lines.append(
            f"  {summary.split} accuracy {summary.accuracy} (95% interval {summary.accuracy_interval}), "
            f"macro F1 {summary.macro_f1}"
        )
        lines.append(f"  {summary.verdict}")
    if summary.bar is not None:
        used = percent(summary.bar.trainable / summary.bar.budget, 0)
        lines.append(
            f"  {summary.bar.trainable:,} of {summary.bar.budget:,} trainable parameters ({used} of the budget)"
        )
    return "\n".join(map(printable, lines))


def _summary(run: RunDir) -> RunSummary:
    manifest: dict[str, Any] = dict(run.read_manifest())
    metrics = run.read_metrics()
    split = next((name for name in ("test", "validation") if "accuracy" in metrics.get(name, {})), None)
    title = accuracy = interval = macro_f1 = None
    if split is not None:
        stated = reported_scores(split, metrics[split], run.read_analysis("cross_validation"))
        title, accuracy = stated.title, percent(stated.accuracy, 2)
        interval = percent_interval(stated.accuracy_interval, 2)
        macro_f1 = f"{stated.macro_f1:.4f}"
    verdict, leads = _verdict(run)
    return RunSummary(
        name=str(manifest.get("name") or run.path.name),
        status=str(manifest.get("status", "unknown")),
        split=title,
        accuracy=accuracy,
        accuracy_interval=interval,
        macro_f1=macro_f1,
        verdict=verdict,
        leads=leads,
        bar=budget_bar(manifest.get("budget", {})),
    )


def _verdict(run: RunDir) -> tuple[str, bool]:
    """Return the sentence about the run and the best of its baselines, and whether the run leads."""
    baseline = run.read_analysis("baseline")
    if baseline is None:
        return (ADOPTED if run.is_adopted else NO_BASELINE), False
    verdict = baseline["verdict"]
    if verdict is None:
        return " ".join(baseline["absent"].values()) or NO_BASELINE, False
    return str(verdict["sentence"]), verdict["kind"] == "leads"
