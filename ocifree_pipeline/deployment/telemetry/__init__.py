"""What is measured and what it costs: Alloy configuration, relabelling, series, budgets and alert rules. Pure."""
