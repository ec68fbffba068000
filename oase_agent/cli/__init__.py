"""Commands: parse, call, turn errors into one clear line and an exit code (0 fine, 1 failed, 2 wrong use)."""
