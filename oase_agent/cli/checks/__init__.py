"""The sections of `oase-agent check`, one module each. They look, and they hide every secret they come across."""
