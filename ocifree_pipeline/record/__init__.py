"""How work is written into Dagster's history and read back: outcomes, facts, and what an error leads to."""
