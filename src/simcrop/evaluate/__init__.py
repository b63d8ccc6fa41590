"""Numbers and figures from predictions."""
