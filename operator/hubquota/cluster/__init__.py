"""The side of the API server: watches pods and policies, writes statuses and Leases."""
