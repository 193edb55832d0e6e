"""The hook beside that of jupyterhub-usage-quotas 0.2.1, on the same history: ``make bench BENCH=hook``."""
