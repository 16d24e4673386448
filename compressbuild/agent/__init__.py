"""The engine's agent: runs on another machine, at the end of a stream, and runs nodes as this machine would."""
