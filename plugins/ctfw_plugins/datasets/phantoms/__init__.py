"""Synthetic chest CTs: anatomy, planted findings, reports, and the files they are written to."""
