"""A plugin whose import fails."""

import not_installed_anywhere  # noqa: F401
