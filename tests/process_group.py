"""Whether a group of processes has ended, for tests of signals and of what they leave behind."""

import os


def has_members(group: int) -> bool:
    """Return whether any process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
