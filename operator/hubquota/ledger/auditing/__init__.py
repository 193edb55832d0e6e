"""What is wrong with a ledger, how it is mended, and the record of what was changed."""
