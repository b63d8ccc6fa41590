"""The exception tree: everything that a user's files and settings can cause.

A message has three parts: what was found (value, path, study id), what was expected, what to
do. Misuse of a function raises the built-in `ValueError` or `TypeError` instead.
"""


class SimCroPError(Exception):
    """Base of all errors that a user can cause with files and settings."""


class ConfigError(SimCroPError):
    """A recipe, a YAML file or a `--set` value that does not describe a possible run."""


class DataError(SimCroPError):
    """A volume, report, table or store that is damaged, missing or not what it claims to be.

    Attributes:
        kind: a stable word for the fault, by which refusals are counted; "other" if it has none.
    """

    def __init__(self, message: str, kind: str = "other") -> None:
        super().__init__(message)
        self.kind = kind


class CheckpointError(SimCroPError):
    """Weights or a checkpoint folder that cannot be loaded as asked."""


class TrainingError(SimCroPError):
    """A run that cannot go on, as after a loss that is not finite."""


def complain(found: str, expected: str, remedy: str) -> str:
    """Join the three parts of an error message: what was found, expected and what to do."""
    return f"{found}; expected {expected}. {remedy}"
