"""Does the method learn what it promises? Variants of it, compared on phantoms with known truth."""
