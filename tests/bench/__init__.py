"""A generated hub whose truth is known, and what is measured and proven against it: ``python -m tests.bench``."""
