"""The pure part: no I/O, no clock, no Kubernetes, no SQL. Times, policies and segments come in; verdicts go out."""
