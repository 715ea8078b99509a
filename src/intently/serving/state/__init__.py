"""What stands behind every answer: live model, memory, clock, ledger, joined by the engine. Knows no HTTP."""
