"""Laws are tried on the same inputs every time, however long a busy machine takes over one."""

from hypothesis import settings

settings.register_profile("laws", deadline=None, derandomize=True, database=None)
settings.load_profile("laws")
