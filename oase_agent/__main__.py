"""`python -m oase_agent` is the same as the `oase-agent` command."""

from oase_agent.cli.main import main

raise SystemExit(main())
