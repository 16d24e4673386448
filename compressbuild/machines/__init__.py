"""Other machines: what a Compressfile's ``host`` stands for, and the engine's end of the stream to an agent there."""
