"""Conditions of our resources and their reasons: the one list, which docs and tests read too."""

from typing import Final

READY: Final = "Ready"
ENFORCED: Final = "Enforced"
CONFLICT: Final = "Conflict"
INEFFECTIVE: Final = "Ineffective"
NOTHING_METERED: Final = "NothingMetered"
UNWEIGHTED: Final = "Unweighted"
UNKNOWN_NAMES: Final = "UnknownNames"
LEDGER_AWAY: Final = "LedgerAway"

#: Reasons of Ready.
APPLIED: Final = "Applied"
INVALID: Final = "Invalid"
TOO_MANY_POLICIES: Final = "TooManyPolicies"
NAME_MISMATCH: Final = "NameMismatch"
#: Reasons of Enforced.
UP_TO_DATE: Final = "UpToDate"
UPDATING: Final = "Updating"
NOT_APPLIED: Final = "NotApplied"
TOO_MANY_USER_QUOTAS: Final = "TooManyUserQuotas"
#: Reasons of Conflict, Ineffective, NothingMetered, Unweighted and UnknownNames.
COMBINE_DIFFERS: Final = "CombineDiffers"
OUTRANKED: Final = "Outranked"
NOBODY_LEFT: Final = "NobodyLeft"
NO_REQUESTS: Final = "NoRequests"
NO_PRICE: Final = "NoPrice"
NEVER_SEEN: Final = "NeverSeen"
#: Reason of LedgerAway.
NOT_WRITTEN: Final = "NotWritten"
#: Reason of any of those that does not hold any more.
NOT_SO: Final = "NotSo"
