"""What comes in, from a request to the ledger."""
