"""How a statement ended, and what is said of it then.

Owns the words. When a statement has ended is the session's business.
"""

from __future__ import annotations

from llmsql.errors import warn
from llmsql.runtime.collector import Collector


def state(collector: Collector, error: BaseException | None) -> str:
    """How a statement ended, for its record."""
    if collector.is_signalled or collector.cancelled.is_set():
        return "interrupted"
    return "done" if error is None else "failed"


def warn_of(collector: Collector) -> None:
    """Warn, once, of rows that failed and of answers that were cut."""
    if not (collector.counts.failed or collector.account.cuts.count):
        return  # this is asked at every row that is fetched
    counts, collector.counts = collector.counts, type(collector.counts)()
    if counts.failed:
        warn(
            f"{counts.failed} of {counts.computed} model calls failed and gave NULL; "
            f"the first: {counts.first_error}; llm_calls() has them all"
        )
    cuts = collector.account.cuts.untold()
    answers = counts.computed + collector.account.reused
    if cuts["context"]:
        warn(
            f"{cuts['context']} of {answers} answers were cut where the model's context ended, "
            "before max_tokens; shorten the prompts, or deploy the model with a longer context"
        )
    if cuts["max_tokens"]:
        warn(
            f"{cuts['max_tokens']} of {answers} answers were cut at max_tokens; "
            "a call takes more with {'max_tokens': …}"
        )


def say_what_else(error: BaseException) -> None:
    """Add to *error*, of a row for which nobody said what it becomes, how that is said."""
    error.add_note(
        "a NULL in its place may destroy data here: NULL ON ERROR behind the call allows it, "
        "DEFAULT … ON ERROR gives another value"
    )


def say_how_to_go_on(error: BaseException, collector: Collector) -> None:
    """Add to *error* that what was computed is not lost."""
    account = collector.account
    answered = account.spent.calls - account.failed
    if answered:
        until = "" if account.is_kept else ", until this process ends"
        are = "1 answer is" if answered == 1 else f"{answered} answers are"
        error.add_note(f"{are} kept{until}: run again, the statement goes on")
