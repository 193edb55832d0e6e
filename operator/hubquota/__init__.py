"""hubquota: quotas over time for JupyterHub on Kubernetes."""
