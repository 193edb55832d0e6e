"""What a hub itself says of its users, by its REST API."""

from hubquota.jupyterhub.client import HubApi, HubApiError

__all__ = ["HubApi", "HubApiError"]
