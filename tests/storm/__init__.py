"""Storms: generated lives of pods while every part is killed with -9 again and again; then ledger against truth."""
