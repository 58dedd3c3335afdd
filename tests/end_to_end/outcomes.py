"""What a run of a program should have come to."""

from typing import Any


def done(outcome: Any) -> str:
    """Make sure that a run went well; return what it said."""
    assert outcome.err == ""
    assert outcome.status == 0
    return str(outcome.out)


def refused(outcome: Any, *words: str) -> None:
    """Make sure that a run ended with one message that holds these words."""
    assert outcome.status == 1
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("error: ") == 1
    assert "Traceback" not in outcome.out + outcome.err
    for word in words:
        assert word in outcome.err
