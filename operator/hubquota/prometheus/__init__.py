"""The pods of a hub as Prometheus had them, from what kube-state-metrics told it: read, put together, never written."""
