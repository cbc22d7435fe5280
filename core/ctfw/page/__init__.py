"""The report page of a run: one self-contained HTML file made from what the run directory holds."""

from __future__ import annotations

from ctfw.page.build import build_page

__all__ = ["build_page"]
