"""Conditions of our resources and their reasons: the one list, which docs and tests read too."""

from typing import Final

READY: Final = "Ready"
ENFORCED: Final = "Enforced"
CONFLICT: Final = "Conflict"
INEFFECTIVE: Final = "Ineffective"
NOTHING_METERED: Final = "NothingMetered"
UNWEIGHTED: Final = "Unweighted"
UNKNOWN_NAMES: Final = "UnknownNames"

#: Reasons of Ready.
APPLIED: Final = "Applied"
INVALID: Final = "Invalid"
NOT_SUPPORTED_YET: Final = "NotSupportedYet"
TOO_MANY_POLICIES: Final = "TooManyPolicies"
NAME_MISMATCH: Final = "NameMismatch"
#: Reasons of Enforced.
TOO_MANY_USER_QUOTAS: Final = "TooManyUserQuotas"
#: Reasons of Conflict and Ineffective.
COMBINE_DIFFERS: Final = "CombineDiffers"
OUTRANKED: Final = "Outranked"
