"""`python -m audio_agent_zoo.cli`."""

import sys

from audio_agent_zoo.cli import main

sys.exit(main())
