"""Whether a sentence reports something or says that there is nothing.

A rule on words, for figures that set normal statements apart from findings: most sentences of a
report are normal, and a normal statement fits nearly every patient. It is no clinical reader:
"no change in the nodule" counts as normal.
"""

import re

_NORMAL = re.compile(
    r"\b(no|not|none|without|absent|negative for|free of|normal|normally|unremarkable|clear|"
    r"natural|patent|open|intact|smooth)\b",
    re.IGNORECASE,
)


def is_normal_statement(sentence: str) -> bool:
    """Return whether the sentence says that something is absent or as it should be."""
    return _NORMAL.search(sentence) is not None
