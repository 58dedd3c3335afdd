"""Tasks: which question a run asks. A task is its cases, how they are learnt, and how answers are judged."""
