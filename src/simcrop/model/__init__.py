"""Networks: forward passes only, no losses."""
