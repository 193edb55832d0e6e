"""Pod histories and policies as files: what is exported, and what is read where there is no cluster."""
