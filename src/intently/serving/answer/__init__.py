"""What is answered: functions from the engine and a checked request to an answer. Knows no HTTP."""
