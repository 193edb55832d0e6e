"""QuotaPolicy and UserQuota: their models, the name of a UserQuota, and the reasons of conditions."""
