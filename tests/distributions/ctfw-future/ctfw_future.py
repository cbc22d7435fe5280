"""A plugin for an API that does not exist yet; it must never be imported."""

raise SystemExit("imported")
